"""Traces to numbers: load, merge, count, and build the Result; nothing here compares or draws."""
