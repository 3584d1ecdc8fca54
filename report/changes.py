"""What differs between two runs shown on one page: every number of both, and its change."""

from msgspec import Struct

from compare import summary
from compare.diff.cells import comparable, says
from compare.diff.judge import OTHERWISE
from compare.metrics import Metric
from compare.summary import Column
from measure.result import Result
from report.rows import SHOWN, written
from traces import units


class ChangeView(Struct, frozen=True, kw_only=True):
    """A number of two runs, and the change of it."""

    said: str
    change: str = ""


class ChangesRow(Struct, frozen=True, kw_only=True):
    """One metric of every backend that is in both runs."""

    title: str
    cells: list[ChangeView]


class Changes(Struct, frozen=True, kw_only=True):
    """What differs between two runs. `only`: backends that one of the two alone has."""

    labels: list[str]
    rows: list[ChangesRow]
    only: list[str]


def changes(base: Result, head: Result) -> Changes:
    """What differs between two runs: for each backend of both, every number and its change."""
    before, after = ({c.label: c for c in summary.columns(run)} for run in (base, head))
    both = [label for label in before if label in after]
    made = []
    for metric in SHOWN:
        cells = [_change(before[label], after[label], metric) for label in both]
        if any(cell.said != units.DASH for cell in cells):
            made.append(ChangesRow(title=metric.heading or metric.title, cells=cells))
    only = [label for label in (*before, *after) if (label in before) != (label in after)]
    return Changes(labels=both, rows=made, only=only)


def _change(before: Column, after: Column, metric: Metric) -> ChangeView:
    """Both values, or one where they are written alike, and the change of the exact numbers."""
    base, head = before.values[metric.name], after.values[metric.name]
    old, new = written(before, metric), written(after, metric)
    said = old if old == new else f"{old} \u2192 {new}"
    if not comparable(metric, before.cells, after.cells):
        return ChangeView(said=said, change=OTHERWISE)
    if not says(metric, [*before.cells, *after.cells]):
        return ChangeView(said=said)
    if not base or head is None or head == base:
        return ChangeView(said=said)
    ratio = head / base
    return ChangeView(
        said=said, change=f"{ratio - 1:+.1%}" if 0.5 <= ratio < 2 else units.ratio(ratio)
    )
