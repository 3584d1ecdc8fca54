"""The measured processes: one backend a file, and the loop they share."""
