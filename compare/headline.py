"""The headline: what paged attention changed in this run, each fact with its two numbers.

The backend looked at is the first paged one that ran, vLLM before others; it is set against the
ways that reserve. A cell that failed parity is shown elsewhere and wins nothing here. Facts are
data with a sentence; the renderers only place them.
"""

from msgspec import Struct

from compare import metrics, stats
from compare.metrics import BASELINE, Metric
from measure.result import Cell, Result
from traces import units

POOL_NOTE = (
    "vLLM takes its KV pool when it starts, whatever the load: how much device memory it uses is "
    "a setting, not what the requests need"
)

_ALONE = {
    "kv_efficiency": "{label} kept {value} of the KV slots it held filled with live tokens.",
    "kv_bytes_per_live_token": "{label} held {value} of KV cache for each live token.",
    "output_tokens_per_s": "{label} generated {value}.",
    "peak_running": "{label} worked on up to {value} requests at once.",
}
_PAIR = {
    "kv_efficiency": (
        "{label} kept {value} of the KV slots it held filled with live tokens, "
        "{against} {reference}"
    ),
    "kv_bytes_per_live_token": (
        "{label} held {value} of KV cache for each live token, {against} {reference}"
    ),
    "output_tokens_per_s": "{label} generated {value}, {against} {reference}",
    "peak_running": "{label} worked on up to {value} requests at once, {against} on {reference}",
}


class Fact(Struct, frozen=True, kw_only=True):
    """One metric of one backend against another's. `ratio` is value over reference."""

    name: str
    text: str
    label: str
    value: float
    unit: str
    against: str | None = None
    reference: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    note: str = ""


def headline(result: Result) -> list[Fact]:
    """The facts a reader wants first; empty when no paged backend ran."""
    groups = by_label(result)
    subject = subject_of(groups)
    if subject is None:
        return []
    others = [label for label in groups if layout(groups[label]) not in ("paged", None)]
    static = _reserving(groups, others)
    baseline = BASELINE if BASELINE in groups else next(iter(others), None)
    facts = [
        _fact(groups, subject, static, "kv_efficiency"),
        _fact(groups, subject, static, "kv_bytes_per_live_token"),
        _fact(groups, subject, baseline, "output_tokens_per_s"),
        _fact(groups, subject, static, "peak_running"),
    ]
    return [fact for fact in facts if fact is not None]


def by_label(result: Result) -> dict[str, list[Cell]]:
    """The repeats of each backend that ran to its end and did not fail parity."""
    groups: dict[str, list[Cell]] = {}
    for cell in result.runs:
        if cell.status == "ok" and not (cell.parity and cell.parity.verdict == "fail"):
            groups.setdefault(cell.label, []).append(cell)
    return groups


def layout(cells: list[Cell]) -> str | None:
    """How the backend lays out its cache."""
    return next((cell.kv.layout for cell in cells if cell.kv and cell.kv.layout), None)


def subject_of(groups: dict[str, list[Cell]]) -> str | None:
    """The paged backend to speak about."""
    paged = [label for label in groups if layout(groups[label]) == "paged"]
    return next((label for label in paged if groups[label][0].backend == "vllm"), None) or next(
        iter(paged), None
    )


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


def _fact(groups: dict[str, list[Cell]], label: str, against: str | None, name: str) -> Fact | None:
    metric = metrics.get(name)
    head = _repeats(metric, groups[label])
    base = _repeats(metric, groups[against]) if against else []
    if not head:
        return None
    value = stats.mean(head)
    unit = "" if metric.unit == "requests" else metric.unit
    shown = units.show(value, unit).strip()
    if against is None or not base:
        alone = _ALONE[name].format(label=label, value=shown)
        return Fact(name=name, text=alone, label=label, value=value, unit=metric.unit)
    reference = stats.mean(base)
    change = stats.compare(base, head, better=metric.better, tau=metric.tau, exact=metric.exact)
    pair = _PAIR[name].format(
        label=label,
        value=shown,
        against=against,
        reference=units.show(reference, unit).strip(),
    )
    return Fact(
        name=name,
        text=_with_ratio(pair, change),
        label=label,
        value=value,
        unit=metric.unit,
        against=against,
        reference=reference,
        ratio=change.ratio,
        low=change.low,
        high=change.high,
        repeats=min(len(head), len(base)),
    )


def _repeats(metric: Metric, cells: list[Cell]) -> list[float]:
    """The metric of each repeat; of a count the most, which is never averaged."""
    values = metrics.values(metric, cells)
    return [max(values)] * len(values) if metric.exact and values else values


def _with_ratio(said: str, change: stats.Change) -> str:
    """Add the ratio, and its interval where repeats gave one."""
    if not change.ratio:
        return f"{said}."
    ratio = times(change.ratio)
    if change.low and change.high and change.low != change.high:
        ratio += f" (95 % interval {change.low:.3g} to {change.high:.3g})"
    return f"{said}: {ratio}."


def times(ratio: float) -> str:
    """A ratio as people say it."""
    if ratio == 1:
        return "the same"
    return f"{ratio:.3g} times as much" if ratio >= 1 else f"{1 / ratio:.3g} times less"
