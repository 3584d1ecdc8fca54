"""Numbers against numbers: a run's summary, diff, nightly, trend, and what each metric is."""
