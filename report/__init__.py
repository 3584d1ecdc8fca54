"""From records to numbers, and from numbers to pages. Needs no GPU, no torch, no engine."""
