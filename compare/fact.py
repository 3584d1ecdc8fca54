"""A fact of the headline: one metric of two backends, as data with a sentence.

The sentence names the loads, the setting that sets the number, and what differs besides paging; the
renderers only place it. Of unequal loads, or of tokens counted otherwise, there is no factor.
"""

from msgspec import Struct

from compare import metrics, stats
from compare.diff.cells import comparable, other_work
from compare.metrics import FULL_RATE, RUN_RATE, Metric
from compare.rates import why_not_full
from compare.repeats import cut_short, layout, marked, policy
from measure.result import Cell, Result
from traces import units

NO_FACTOR = "no factor, since the loads differ"
OTHERWISE = "no factor, since tokens are counted otherwise"

_SAID = {
    "kv_efficiency": "{name} kept {value} of the KV slots it held filled with live tokens",
    "kv_bytes_per_live_token": "{name} held {value} of KV cache for each live token",
    RUN_RATE: "{name} generated {value}",
    FULL_RATE: "{name} generated {value} at full load",
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


def compared(result: Result, name: str, cells: list[Cell], against: list[Cell]) -> Fact | None:
    metric = metrics.get(name)
    head, base = _side(metric, cells), _side(metric, against)
    if not head.values or (name in (RUN_RATE, FULL_RATE) and cut_short(cells)):
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
    reasons = [*_sets(result, name, against), *_of_rate(name, cells, against)]
    reasons.append(_besides(cells, against))
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
    if policy(against) == "reserve-max":
        return [f"max_length {length:,} and the KV pool's size set this"] if length else []
    if name in (RUN_RATE, FULL_RATE):
        return [f"{against[0].label} runs {batch} at a time"] if batch else []
    if kind == "static" and length and (name != "peak_running" or budget):
        return [f"max_length {length:,} sets this"]
    return [f"its batch size of {batch} sets this"] if batch else []


def _of_rate(name: str, cells: list[Cell], against: list[Cell]) -> list[str]:
    """Why two engines are not set beside each other at full load."""
    if name != RUN_RATE or cells[0].backend == against[0].backend:
        return []
    whys = ((side[0].label, why_not_full(side)) for side in (cells, against))
    return [f"of the whole runs, since {label}'s {why}" for label, why in whys if why][:1]


def _besides(cells: list[Cell], against: list[Cell]) -> str:
    """What differs beside the layout of the cache."""
    if cells[0].backend == against[0].backend:
        return "besides paging, nothing differs"
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
