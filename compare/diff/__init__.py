"""The difference of two results: what changed, by how much, and whether it may pass a gate.

`compare.diff` turns two results into one `outcome.Diff`; `report.diff` shows it. It reads no files
and knows no revisions: `pagedbench diff` finds the results.
"""
