"""Which metrics stand in the comparison of backends, in which order, and as what text."""

from msgspec import Struct

from compare.metrics import EVERY, FULL_RATE, RUN_RATE, Metric
from compare.summary import Column
from traces.units import DASH, count, ratio

GROUPS = (
    ("after_import", "after_load", "run_peak", "after"),
    (
        "requests_run", "output_tokens", "request_mean", "wall", "ttft_mean", "ttft_p90",
        "ttft_p99", "tpot_mean", "itl_p50", "itl_p99", "full_load_itl_p50", "full_load_itl_p99",
        RUN_RATE, FULL_RATE, "speed_up", "joules_per_token",
    ),
    (
        "peak_running", "mean_running", "preempted", "kv_mean_reserved", "kv_mean_live",
        "kv_held_bytes", "kv_used_bytes", "kv_pool_bytes", "kv_efficiency",
    ),
)  # fmt: skip
OF_LOAD = (
    "request_mean", "wall", "ttft_mean", "ttft_p90", "ttft_p99", "tpot_mean", "itl_p50", "itl_p99",
)  # fmt: skip
"""Times that the load sets: beside each other they stand only for the same requests, all run."""
SHOWN: tuple[Metric, ...] = tuple(EVERY[name] for group in GROUPS for name in group)


class TableRow(Struct, frozen=True, kw_only=True):
    """One metric of every backend. `first` of its group, it is set off from the one before."""

    name: str
    title: str
    cells: list[str]
    first: bool = False


def rows(found: list[Column], without: tuple[str, ...] = ()) -> list[TableRow]:
    """The rows in which some backend has something, but those that are not asked for."""
    made = []
    most = max((_requests(c) for c in found if c.ended is None), default=(0, 0))
    whole = [len(found) == 1 or (c.ended is None and _requests(c) in ((0, 0), most)) for c in found]
    for group in GROUPS:
        first = True
        for metric in (EVERY[name] for name in group if name not in without):
            cells = [
                written(column, metric) if like or metric.name not in OF_LOAD else DASH
                for column, like in zip(found, whole, strict=True)
            ]
            if any(cell != DASH for cell in cells):
                title = metric.heading or metric.title
                made.append(TableRow(name=metric.name, title=title, cells=cells, first=first))
                first = False
    return made


def written(column: Column, metric: Metric) -> str:
    """One backend's value of a metric; a count that differs between repeats as a range.

    Of requests that a deadline ended, `57 of 256` had all their tokens.
    """
    low, high = column.ranges.get(metric.name, (0, 0))
    part = f" of {count(column.ended)}" if column.ended and metric.name == "requests_run" else ""
    if low != high:
        return f"{count(low)}-{count(high)}{part}"
    value = column.values[metric.name]
    if metric.unit == "ratio":
        return ratio(value, 2 if column.single else 3)
    known, every = column.timed
    some = value is not None and known < every and metric.name.startswith(("ttft", "tpot"))
    return metric.write(value) + (f" ({known} of {every})" if some else part)


def _requests(column: Column) -> tuple[float, float]:
    """How many requests it ran; none where that is not known."""
    return column.ranges.get("requests_run", (0, 0))
