"""Which metrics stand in the comparison of backends, in which order, and as what text."""

from msgspec import Struct

from compare.metrics import EVERY, Metric
from compare.summary import Column
from traces.units import DASH, count

GROUPS = (
    ("after_import", "after_load", "run_peak", "after"),
    (
        "requests_run", "output_tokens", "request_mean", "wall", "ttft_mean", "ttft_p90",
        "ttft_p99", "tpot_mean", "output_tokens_per_s", "speed_up", "joules_per_token",
    ),
    (
        "peak_running", "mean_running", "preempted", "kv_mean_reserved", "kv_mean_live",
        "kv_held_bytes", "kv_used_bytes", "kv_pool_bytes", "kv_efficiency",
    ),
)  # fmt: skip
SHOWN: tuple[Metric, ...] = tuple(EVERY[name] for group in GROUPS for name in group)


class TableRow(Struct, frozen=True, kw_only=True):
    """One metric of every backend. `first` of its group, it is set off from the one before."""

    name: str
    title: str
    cells: list[str]
    first: bool = False


def rows(found: list[Column]) -> list[TableRow]:
    """The rows in which some backend has something."""
    made = []
    for group in GROUPS:
        first = True
        for metric in map(EVERY.__getitem__, group):
            cells = [written(column, metric) for column in found]
            if any(cell != DASH for cell in cells):
                title = metric.heading or metric.title
                made.append(TableRow(name=metric.name, title=title, cells=cells, first=first))
                first = False
    return made


def written(column: Column, metric: Metric) -> str:
    """One backend's value of a metric; a count that differs between repeats as a range."""
    low, high = column.ranges.get(metric.name, (0, 0))
    if low != high:
        return f"{count(low)}-{count(high)}"
    return metric.write(column.values[metric.name])
