"""`python -m orchestrator` is `pagedbench`."""

from orchestrator.cli import main

main()
