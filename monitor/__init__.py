"""The sampler: a process of its own that watches devices and process trees from outside."""
