"""A cell's work: what it was offered, and how much of that was done.

Everybody is offered the same, whatever a deadline leaves of it: that is what makes two runs the
same experiment. What was done is a number like others.
"""

from collections.abc import Mapping
from typing import Any

from measure import result
from traces import duration
from traces.records import FreeForm, Request


def offered(suite: FreeForm, workload: result.Workload) -> result.Work:
    """What every cell of the suite was offered. Raises Problem for a budget that is no time."""
    budget, flying = suite.get("budget"), suite.get("concurrency")
    return result.Work(
        sha256=workload.sha256,
        requests=workload.requests,
        load=f"{flying} in flight" if flying else "closed",
        deadline_s=duration.parse(str(budget)) if budget else None,
    )


def ended(requests: list[Request]) -> result.Ended | None:
    """What ended the run before its work was done."""
    return next((request.ended for request in requests if request.ended), None)


def done(requests: list[Request]) -> dict[str, Any]:
    """The fields of a cell that say how much was done; none where nothing is known."""
    if not requests:
        return {}
    return {
        "requests_run": sum(request.ended is None for request in requests),
        "output_tokens": sum(request.output_tokens for request in requests),
        "ended": ended(requests),
    }


def wanted(requests: list[Request], asked: Mapping[str, int]) -> int | None:
    """The tokens that the run was to give; None where a deadline ended it."""
    return None if ended(requests) else sum([*asked.values()][: len(requests)]) or None


def in_vain(cell: result.Cell) -> bool:
    """Say whether a deadline ended a run of the cell before any token came."""
    runs: list[result.Cell | result.Point] = [*cell.points] or [cell]
    return any(run.ended is not None and not run.output_tokens for run in runs)
