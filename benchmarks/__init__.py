"""What our measuring costs, and how sure its verdicts are. Run by hand; figures go to docs/."""
