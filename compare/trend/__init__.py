"""Results over time: each metric of each cell by date and commit, and where it moved.

`collect` puts results into groups that can be compared, `steps` finds where a series changed its
level. Nothing here reads a results folder.
"""
