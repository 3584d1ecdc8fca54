"""The headline: what paged attention changed in this run, each fact with its two numbers.

The backend looked at is the first paged one that ran, vLLM before others. It is set against the
same engine that reserves, where that ran: this is what paging changes. Else against the ways of
other engines that reserve, and in its rate against the baseline: this is what the engine changes.
A cell that failed parity is shown elsewhere and wins nothing here.
"""

from compare import rates
from compare.fact import NO_FACTOR, Fact, compared
from compare.metrics import BASELINE, RUN_RATE
from compare.repeats import by_label, layout, policy
from measure.result import Cell, Result


def headline(result: Result) -> list[Fact]:
    """The facts a reader wants first; empty when no paged backend ran.

    Of unequal loads only the efficiencies are set beside each other.
    """
    groups = by_label(result)
    subject = subject_of(groups)
    if subject is None:
        return []
    others = [label for label in groups if layout(groups[label]) not in ("paged", None)]
    own = _reserving_itself(groups, groups[subject])
    static = groups.get(own or _reserving(groups, others) or "", [])
    baseline = groups.get(BASELINE if BASELINE in groups else next(iter(others), ""), [])
    pairs = [
        ("kv_efficiency", static),
        ("kv_bytes_per_live_token", static),
        *([_rate(groups[subject], static, same_engine=True)] if own else []),
        ("peak_running", static),
        *([_rate(groups[subject], baseline)] if baseline or not own else []),
    ]
    found = (compared(result, name, groups[subject], other) for name, other in pairs if name)
    return [
        fact
        for fact in found
        if fact and (fact.note != NO_FACTOR or fact.name == "kv_efficiency")  # a share of its own
    ]


def _rate(
    cells: list[Cell], against: list[Cell], *, same_engine: bool = False
) -> tuple[str, list[Cell]]:
    """The rate to compare, empty for none; of a backend that stands alone, that of its run."""
    return (rates.between(cells, against, same_engine) if against else RUN_RATE), against


def subject_of(groups: dict[str, list[Cell]]) -> str | None:
    """The paged backend to speak about."""
    paged = [label for label, c in groups.items() if layout(c) == "paged" and policy(c) == "paged"]
    return next((label for label in paged if groups[label][0].backend == "vllm"), None) or next(
        iter(paged), None
    )


def same_engine(result: Result) -> tuple[str, str] | None:
    """The paged backend and the same engine that reserves the maximum, where both ran."""
    groups = by_label(result)
    subject = subject_of(groups)
    own = _reserving_itself(groups, groups[subject]) if subject else None
    return (subject, own) if subject and own else None


def _reserving_itself(groups: dict[str, list[Cell]], subject: list[Cell]) -> str | None:
    """The subject's own engine with nothing changed but that it reserves the maximum."""
    options = {**subject[0].options, "policy": "reserve-max"}
    same = (
        label
        for label, cells in groups.items()
        if (cells[0].backend, cells[0].options) == (subject[0].backend, options)
    )
    return next(same, None)


def _reserving(groups: dict[str, list[Cell]], others: list[str]) -> str | None:
    """The traditional way that holds slots in advance, or pads: static before padded.

    A cache that only grows is full by definition and serves one request at a time: it is no
    measure of waste.
    """
    for wanted in ("static", "padded"):
        for label in others:
            if layout(groups[label]) == wanted:
                return label
    return None
