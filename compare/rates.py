"""Which rate a factor may be made of, and why it is not another.

Engines are set beside each other at full load: what a run takes to fill up and to run dry is the
load's. Policies of one engine, and engines where one was not fully loaded for long enough, are set
beside each other by the run rate of the same requests, which both ran to their end.
"""

from collections.abc import Sequence

from compare import metrics
from compare.diff.cells import other_work
from compare.metrics import FULL_RATE, RUN_RATE
from measure.result import Cell


def of_run(one: Sequence[Cell], two: Sequence[Cell]) -> bool:
    """Say whether run rates are of the same requests."""
    return not other_work(two, one) and not any(cell.ended for cell in (*one, *two))


def of_full_load(*sides: Sequence[Cell]) -> bool:
    """Say whether all have a full-load rate, as far as they have any rate."""
    full, run = metrics.get(FULL_RATE), metrics.get(RUN_RATE)
    rated = [cells for cells in sides if metrics.values(run, cells)]
    return bool(rated) and all(metrics.values(full, cells) for cells in rated)


def between(one: Sequence[Cell], two: Sequence[Cell], same_engine: bool) -> str:
    """The name of the rate to set beside each other; empty where none is to be."""
    if same_engine and of_run(one, two):
        return RUN_RATE
    if of_full_load(one, two):
        return FULL_RATE
    return RUN_RATE if of_run(one, two) else ""


def why_not_full(cells: Sequence[Cell]) -> str:
    """Why a backend has no full-load rate; empty where it has one, or nothing is known."""
    if metrics.values(metrics.get(FULL_RATE), cells):
        return ""
    reasons = (cell.timing.why.get(FULL_RATE, "") for cell in cells if cell.timing)
    return next(filter(None, reasons), "")
