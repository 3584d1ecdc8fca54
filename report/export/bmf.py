"""Bencher Metric Format (https://bencher.dev/docs/reference/bencher-metric-format).

A benchmark per cell, a measure per metric; the interval becomes the lower and upper value.
"""

import msgspec

from measure.result import Result
from report.export.summaries import summaries


def render(result: Result) -> bytes:
    """The whole file."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for entry in summaries(result):
        name = f"{result.workload.name}/{result.model.name}/{entry.cell.label}"
        value = {"value": entry.summary.mean}
        if entry.summary.low is not None and entry.summary.high is not None:
            value |= {"lower_value": entry.summary.low, "upper_value": entry.summary.high}
        found.setdefault(name, {})[entry.metric.name.replace("_", "-")] = value
    return msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n"
