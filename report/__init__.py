"""Numbers to pages, tables, pictures and exports. Needs no GPU, no torch, no engine."""
