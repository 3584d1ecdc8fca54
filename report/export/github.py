"""The custom formats of github-action-benchmark: customSmallerIsBetter, customBiggerIsBetter.

One file holds metrics of one direction only, so there are two: `better` chooses.
"""

import msgspec
from msgspec import UNSET, Struct, UnsetType

from compare.metrics import Better
from measure.result import Result
from report.export.summaries import MetricOfCell, summaries


class Benchmark(Struct, frozen=True, kw_only=True):
    """One entry of the file."""

    name: str
    unit: str
    value: float
    extra: str
    range: str | UnsetType = UNSET


def render(result: Result, better: Better = "lower") -> bytes:
    """The whole file for metrics of which less (or more) is better."""
    chosen = (e for e in summaries(result) if e.metric.better == better and e.metric.gates)
    return (
        msgspec.json.format(msgspec.json.encode([_benchmark(e) for e in chosen]), indent=2) + b"\n"
    )


def _benchmark(found: MetricOfCell) -> Benchmark:
    summary, spread = found.summary, ""
    if summary.low is not None and summary.high is not None:
        spread = f"{summary.low:.6g} to {summary.high:.6g}"
    return Benchmark(
        name=f"{found.cell.label}: {found.metric.title}",
        unit=found.metric.unit,
        value=summary.mean,
        extra=f"{summary.n} repeats",
        range=spread or UNSET,
    )
