"""Each cell's metrics over its repeats: what formats without repeats are given."""

from collections.abc import Iterator
from dataclasses import dataclass

from compare import metrics, stats
from compare.diff import cells
from compare.metrics import Metric
from compare.stats import Summary
from measure.result import Cell, Result


@dataclass(frozen=True, slots=True)
class MetricOfCell:
    """One metric of one cell, over its repeats."""

    cell: Cell
    metric: Metric
    summary: Summary


def summaries(result: Result) -> Iterator[MetricOfCell]:
    """Every metric that a cell has and its number of requests supports."""
    for repeats in cells.grouped(result.runs).values():
        requests = min(cell.requests_run or cell.requests_asked for cell in repeats)
        for metric in metrics.METRICS:
            values = metrics.values(metric, repeats)
            if values and metric.supported(requests) and cells.says(metric, repeats):
                yield MetricOfCell(repeats[0], metric, stats.summarize(values))
