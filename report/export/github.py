"""The custom formats of github-action-benchmark: customSmallerIsBetter, customBiggerIsBetter.

One file holds metrics of one direction only, so there are two: `better` chooses.
"""

from typing import Any

import msgspec

from compare.metrics import Better
from measure.result import Result
from report.export import summaries
from report.export.summaries import Entry


def render(result: Result, better: Better = "lower") -> bytes:
    """The whole file for metrics of which less (or more) is better."""
    chosen = (e for e in summaries.entries(result) if e.metric.better == better and e.metric.gates)
    return msgspec.json.format(msgspec.json.encode([_entry(e) for e in chosen]), indent=2) + b"\n"


def _entry(entry: Entry) -> dict[str, Any]:
    low, high = entry.summary.low, entry.summary.high
    said = {
        "name": f"{entry.cell.label}: {entry.metric.title}",
        "unit": entry.metric.unit,
        "value": entry.summary.mean,
        "extra": f"{entry.summary.n} repeats",
    }
    if low is not None and high is not None:
        said["range"] = f"{low:.6g} to {high:.6g}"
    return said
