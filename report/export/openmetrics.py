"""OpenMetrics text, for Prometheus and what reads it (a node exporter's textfile folder, say).

Names end in their base unit, as OpenMetrics asks. Values are means over the repeats, and carry no
timestamp: the reader's scrape time is what such a file is dated by.
"""

from collections.abc import Iterable, Iterator, Mapping

from compare.metrics import Metric
from measure.result import Result
from report.export import flat
from report.export.flat import Value
from report.export.summaries import MetricOfCell, summaries

SUFFIX = {"s": "seconds", "B": "bytes", "share": "ratio", "J": "joules"}


def render(result: Result) -> bytes:
    """The whole file."""
    about = flat.about(result)
    common = {name: about[name] for name in ("workload", "model", "dtype", "device")}
    info = {name: about[name] for name in ("suite", "begun", "commit", "processor")}
    lines = [
        "# TYPE pagedbench_run info",
        "# HELP pagedbench_run What was measured.",
        f"pagedbench_run_info{_labels(info)} 1",
    ]
    by_metric: dict[str, list[MetricOfCell]] = {}
    for entry in summaries(result):
        by_metric.setdefault(entry.metric.name, []).append(entry)
    for entries in by_metric.values():
        lines += _family(entries, common)
    return "\n".join([*lines, "# EOF", ""]).encode()


def _family(entries: list[MetricOfCell], common: Mapping[str, Value]) -> Iterator[str]:
    metric = entries[0].metric
    name = _name(metric)
    yield f"# TYPE {name} gauge"
    if metric.unit in SUFFIX:
        yield f"# UNIT {name} {SUFFIX[metric.unit]}"
    yield f"# HELP {name} {_escape(metric.title)}"
    for entry in entries:
        labels = {"label": entry.cell.label, "backend": entry.cell.backend, **common}
        yield f"{name}{_labels(labels)} {entry.summary.mean:.9g}"


def _name(metric: Metric) -> str:
    """The metric's name with its unit last: OpenMetrics wants the unit as a suffix."""
    suffix = SUFFIX.get(metric.unit)
    stem = f"pagedbench_{metric.name.removesuffix('_s') if suffix else metric.name}"
    return f"{stem}_{suffix}" if suffix and not stem.endswith(suffix) else stem


def _labels(labels: Mapping[str, Value]) -> str:
    return f"{{{','.join(_pairs(labels.items()))}}}"


def _pairs(items: Iterable[tuple[str, Value]]) -> Iterator[str]:
    for name, value in items:
        if value is not None:
            yield f'{name}="{_escape(str(value))}"'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
