"""What recording costs, and whether our speed is the engine's own (`make perf`)."""
