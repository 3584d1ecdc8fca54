"""A result in the formats of other programs: one file per format, all from the same metrics."""
