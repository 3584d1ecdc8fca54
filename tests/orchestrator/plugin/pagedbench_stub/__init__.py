"""A package that adds backends to pagedbench, as anybody's could. It generates nothing real."""
