"""What is said of loads: who did how much of the work, what ended it, and what rates are of."""

from compare.metrics import EVERY, FULL_RATE
from compare.rates import why_not_full
from compare.summary import Column
from measure.result import Result
from report.rows import written
from traces.units import count


def unequal(result: Result, columns: list[Column]) -> list[str]:
    """Who did how much of the work, where not all did all of it, and what that forbids."""
    ran = [c for c in columns if c.ok and "requests_run" in c.ranges]
    every = result.workload.requests
    if short := [c for c in ran if c.ended is not None]:
        return [_ended(result, short)]
    if all(c.ranges["requests_run"][0] == every for c in ran):
        return []
    each = ", ".join(f"{c.label} {written(c, EVERY['requests_run'])}" for c in ran)
    within = f" in {budget}" if (budget := result.suite.get("budget")) else ""
    said = (
        f"Not everybody ran all {count(every)} requests{within}: {each}; "
        "always the first ones. There is no factor between unequal loads, and the times that grow "
        "with the load are only of who ran most."
    )
    if cut := [c.label for c in ran if c.cut_short]:
        said += f" {' and '.join(cut)} takes all at once: of a part there is no rate of its own."
    return [said]


def _ended(result: Result, short: list[Column]) -> str:
    """Whom the deadline ended, and what can be said of such a run."""
    each = ", ".join(f"{c.label} ({written(c, EVERY['requests_run'])} requests)" for c in short)
    return (
        f"All were offered the same; the deadline of {result.suite.get('budget')} ended {each}. Of "
        "those, rates, shares and times between tokens at full load can be compared; times of "
        "whole runs and requests are only of who did it all."
    )


def rated(columns: list[Column]) -> str:
    """Which rate speed-ups are of, and why not that at full load; empty where there are none."""
    if not any(column.values.get("speed_up") for column in columns):
        return ""
    if columns[0].rate == FULL_RATE:
        return "Speed-ups are of the rates at full load."
    whys = ((c.label, why_not_full(c.cells)) for c in columns if c.ok)
    why = next((f", since {label}'s {why}" for label, why in whys if why), "")
    return f"Speed-ups are of whole runs{why}."
