"""A diff in words: one file per output format, all from the same `compare.diff.outcome.Diff`."""
