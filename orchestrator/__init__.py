"""The command line, and what decides what runs: suite, plan, supervision, environment, store."""
