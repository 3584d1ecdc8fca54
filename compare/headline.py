"""The headline: what paged attention changed in this run, each fact with its two numbers.

The backend looked at is the first paged one that ran, vLLM before others; it is set against the
ways that reserve. A cell that failed parity is shown elsewhere and wins nothing here. Facts are
data with a sentence, which names the loads, the setting that sets the number, and what differs
besides paging; the renderers only place them. Of unequal loads there is no factor.
"""

from msgspec import Struct

from compare import metrics, stats
from compare.diff.cells import comparable, other_work
from compare.metrics import BASELINE, Metric
from measure.result import Cell, Result
from traces import units

DOUBT = "*"
"""Behind the name of a backend whose numbers are doubtful."""
NO_FACTOR = "no factor, since the loads differ"
OTHERWISE = "no factor, since tokens are counted otherwise"

_SAID = {
    "kv_efficiency": "{name} kept {value} of the KV slots it held filled with live tokens",
    "kv_bytes_per_live_token": "{name} held {value} of KV cache for each live token",
    "output_tokens_per_s": "{name} generated {value}",
    "peak_running": "{name} worked on up to {value} requests at once",
}


class Fact(Struct, frozen=True, kw_only=True):
    """One metric of one backend against another's. `ratio` is value over reference.

    `note` says why there is no ratio where there are two numbers.
    """

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


class Side(Struct, frozen=True):
    """One of the two backends: the repeats that count, and what the metric is in each."""

    cells: list[Cell]
    values: list[float]

    @property
    def name(self) -> str:
        """Its label, with a mark where it is doubtful."""
        return self.cells[0].label + marked(self.cells)


def headline(result: Result) -> list[Fact]:
    """The facts a reader wants first; empty when no paged backend ran."""
    groups = by_label(result)
    subject = subject_of(groups)
    if subject is None:
        return []
    others = [label for label in groups if layout(groups[label]) not in ("paged", None)]
    static = groups.get(_reserving(groups, others) or "", [])
    baseline = groups.get(BASELINE if BASELINE in groups else next(iter(others), ""), [])
    pairs = {
        "kv_efficiency": static,
        "kv_bytes_per_live_token": static,
        "output_tokens_per_s": baseline,
        "peak_running": static,
    }
    found = (_fact(result, name, groups[subject], other) for name, other in pairs.items())
    return [fact for fact in found if fact is not None]


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


def marked(cells: list[Cell]) -> str:
    """The mark of a doubtful backend; empty for others."""
    failed = any(check.verdict == "fail" for cell in cells for check in cell.validity)
    return DOUBT if failed or any(cell.suspect for cell in cells) else ""


def cut_short(cells: list[Cell]) -> bool:
    """Say whether a time budget took requests from an engine that works on all at once.

    Then its batch was smaller than it would be, and its rates are not its own.
    """
    return layout(cells) == "paged" and any(cell.truncated for cell in cells)


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


def _fact(result: Result, name: str, cells: list[Cell], against: list[Cell]) -> Fact | None:
    metric = metrics.get(name)
    head, base = _side(metric, cells), _side(metric, against)
    if not head.values or (name == "output_tokens_per_s" and cut_short(cells)):
        return None
    value = stats.mean(head.values)
    if not base.values:
        text = f"{_said(metric, head, value)} ({_load(cells)})."
        return Fact(name=name, text=text, label=cells[0].label, value=value, unit=metric.unit)
    reference = stats.mean(base.values)
    note = "" if comparable(metric, against, cells) else OTHERWISE
    note = NO_FACTOR if other_work(against, cells) else note
    change = stats.compare(
        base.values, head.values, better=metric.better, tau=metric.tau, exact=metric.exact
    )
    single = min(len(head.values), len(base.values)) == 1
    said = f"{_both(metric, head, base)}: {note or _factor(change, single)}"
    reasons = [*_sets(result, name, against), _besides(cells, against)]
    return Fact(
        name=name,
        text=f"{said}; {'; '.join(reasons)}.",
        label=cells[0].label,
        value=value,
        unit=metric.unit,
        against=against[0].label,
        reference=reference,
        ratio=None if note else change.ratio,
        low=None if note else change.low,
        high=None if note else change.high,
        repeats=min(len(head.values), len(base.values)),
        note=note,
    )


def _side(metric: Metric, cells: list[Cell]) -> Side:
    """The metric of each repeat; of a count the most, which is never averaged."""
    values = metrics.values(metric, cells)
    most = [max(values)] * len(values) if metric.exact and values else values
    return Side(cells, most)


def _said(metric: Metric, side: Side, value: float) -> str:
    return _SAID[metric.name].format(name=side.name, value=_shown(metric, value))


def _shown(metric: Metric, value: float) -> str:
    return units.show(value, "" if metric.unit == "requests" else metric.unit).strip()


def _both(metric: Metric, head: Side, base: Side) -> str:
    """Both numbers, each with its load, or with the one load of both."""
    one, two = _load(head.cells), _load(base.cells)
    said = _said(metric, head, stats.mean(head.values))
    other = f"{base.name} {_shown(metric, stats.mean(base.values))}"
    return f"{said}, {other} (each {one})" if one == two else f"{said} ({one}), {other} ({two})"


def _load(cells: list[Cell]) -> str:
    """What was done: `4 requests, 256 output tokens`; a range where repeats differ."""
    counts = [
        sorted({count for cell in cells if (count := getattr(cell, name)) is not None})
        for name in ("requests_run", "output_tokens")
    ]
    shown = ["-".join(f"{n:,}" for n in dict.fromkeys((c[0], c[-1]))) if c else "?" for c in counts]
    return f"{shown[0]} request{'s' * (shown[0] != '1')}, {shown[1]} output tokens"


def _sets(result: Result, name: str, against: list[Cell]) -> list[str]:
    """The setting without which the other side's number would be another."""
    kind, batch = layout(against), against[0].engine.get("batch")
    length, budget = result.suite.get("max_length"), result.suite.get("kv_budget")
    if name == "output_tokens_per_s":
        return [f"{against[0].label} runs {batch} at a time"] if batch else []
    if kind == "static" and length and (name != "peak_running" or budget):
        return [f"max_length {length:,} sets this"]
    return [f"its batch size of {batch} sets this"] if batch else []


def _besides(cells: list[Cell], against: list[Cell]) -> str:
    """What differs beside the layout of the cache."""
    one, two = (side[0].backend.partition("-")[0] for side in (cells, against))
    if one == two:
        return "besides paging, batching and scheduling differ"
    return "besides paging, engine, kernels and batching differ"


def _factor(change: stats.Change, single: bool) -> str:
    """The ratio, with its interval where repeats gave one; of single runs to two digits."""
    if not change.ratio:
        return "no factor"
    said = times(change.ratio, 2 if single else 3)
    if change.low and change.high and change.low != change.high:
        return f"{said} (95 % interval {change.low:.3g} to {change.high:.3g})"
    return f"{said}, one run each" if single else said


def times(ratio: float, digits: int = 3) -> str:
    """A ratio as people say it."""
    if ratio == 1:
        return "the same"
    more = units.rounded(ratio if ratio > 1 else 1 / ratio, digits)
    return f"{more} times {'as much' if ratio > 1 else 'less'}"
