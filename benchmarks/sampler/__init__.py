"""What a sampler sees and costs, ours beside others (`make perf-sampler`)."""
