"""Results over time as a page."""
