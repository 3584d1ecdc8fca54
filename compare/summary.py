"""One column per backend: its repeats brought together, ready for any renderer.

Every number is of the same repeats: those that ran to their end and did not fail parity, as far as
there are any. Measured ones are means, counts a range where they differ. The evidence is the worst
of all repeats that ran. A backend none of whose repeats did is still there, with its status, the
reason and its last log lines. Numbers only: a metric knows how it is written, and `report.words`
what is said of outcomes.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from compare import metrics, stats
from compare.diff.cells import other_work
from compare.metrics import BASELINE, FULL_RATE, RUN_RATE, Metric
from compare.rates import of_full_load, of_run
from compare.repeats import by_label, cut_short
from measure.result import Cell, Check, Parity, Result, Share

RATES = ("tok/s", "ratio", "J")
_WORST = ("fail", "n/a", "pass")


class Column(Struct, kw_only=True):
    """One backend, as configured, over its repeats. Bytes, seconds, tokens, shares."""

    label: str
    backend: str
    status: str
    reason: str = ""
    truncated: str = ""
    ended: int | None = None
    """Of so many requests, where a deadline ended it."""
    log_tail: list[str] = field(default_factory=list)
    repeats: int = 0
    ok: int = 0
    left_out: int = 0
    """Repeats that ran to their end and are in no number: their tokens are not the model's."""
    cells: list[Cell]
    """The repeats that every number is of."""
    values: dict[str, float | None] = field(default_factory=dict)
    """The mean of every metric, by its name; null for a count that differs between repeats."""
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The least and the most of every count."""
    waste: dict[str, Share] = field(default_factory=dict)
    layout: str | None = None
    parity: Parity | None = None
    """The worst of the repeats."""
    checks: list[Check] = field(default_factory=list)
    """Each check as it went worst."""
    suspect: list[str] = field(default_factory=list)
    cut_short: bool = False
    """A time budget took requests from an engine that works on all at once: no rate is its own."""
    rate: str = RUN_RATE
    """The rate that speed-ups of the whole table are of."""
    single: bool = True
    """A ratio of it is of one repeat on either side."""
    timed: tuple[int, int] = (0, 0)
    """The requests whose first token's time is known, and all of them."""

    @property
    def first(self) -> Cell:
        """The repeat whose ledger and lines stand for all."""
        return self.cells[0]


def columns(result: Result) -> list[Column]:
    """All backends of the result, in its order."""
    groups: dict[str, list[Cell]] = {}
    for cell in result.runs:
        groups.setdefault(cell.label, []).append(cell)
    passed = by_label(result)
    full = of_full_load(*(cells for cells in passed.values() if not cut_short(cells)))
    rate = metrics.get(FULL_RATE if full else RUN_RATE)
    return [_column(result, label, cells, passed, rate) for label, cells in groups.items()]


def _column(
    result: Result,
    label: str,
    cells: list[Cell],
    passed: Mapping[str, list[Cell]],
    rate: Metric,
) -> Column:
    ran = [cell for cell in cells if cell.status == "ok"]
    counted = passed.get(label) or ran or cells
    failed = next((cell for cell in cells if cell.status != "ok"), None)
    about = result.volatile.get("cells", {}).get(f"{label}.r{failed.repeat}", {}) if failed else {}
    cache = counted[0].kv
    ranges = _ranges(counted)
    return Column(
        label=label,
        backend=counted[0].backend,
        status=", ".join(dict.fromkeys(cell.status for cell in cells)),
        reason=failed.reason if failed else "",
        truncated=next((cell.truncated for cell in cells if cell.truncated), ""),
        ended=next((cell.requests_asked for cell in counted if cell.ended), None),
        rate=rate.name,
        log_tail=[str(line) for line in about.get("log_tail") or []],
        repeats=len(cells),
        ok=len(ran),
        left_out=len(ran or cells) - len(counted),
        cells=counted,
        values=_values(label, counted, passed, ranges, rate),
        ranges=ranges,
        waste={cause: _waste(cause, share, counted) for cause, share in cache.waste.items()}
        if cache
        else {},
        layout=cache.layout if cache else None,
        parity=_worst_parity(ran or cells),
        checks=_worst_checks(ran or cells),
        suspect=list(dict.fromkeys(doubt for cell in cells for doubt in cell.suspect)),
        cut_short=cut_short(counted),
        single=min(len(counted), len(passed.get(BASELINE, counted))) < 2,
        timed=_timed(counted),
    )


def _timed(cells: list[Cell]) -> tuple[int, int]:
    """Requests that gave way to others, and were begun anew, may have lost the time."""
    rows = [row for cell in cells for row in cell.rows]
    return sum(row.first is not None for row in rows), len(rows)


def _ranges(cells: list[Cell]) -> dict[str, tuple[float, float]]:
    counts = (metric for metric in metrics.EVERY.values() if metric.exact and not metric.tau)
    known = ((metric.name, metrics.known(metric, cells)) for metric in counts)
    return {name: (min(values), max(values)) for name, values in known if values}


def _values(
    label: str,
    cells: list[Cell],
    passed: Mapping[str, list[Cell]],
    ranges: Mapping[str, tuple[float, float]],
    rate: Metric,
) -> dict[str, float | None]:
    """Every metric's mean; a ratio only of equal loads whose repeats did not fail parity.

    Rates of an engine whose batch was cut are not its own, and are not given. Ratios are of `rate`.
    """
    found: dict[str, float | None] = {}
    for metric in metrics.EVERY.values():
        if (metric.unit in RATES or metric.name.startswith("full_load")) and cut_short(cells):
            found[metric.name] = None
        elif metric.over:
            one, two = (passed.get(name, []) for name in (label, metric.over))
            above, below = (_mean(rate, side) for side in (one, two))
            fair = of_run(one, two) if rate.name == RUN_RATE else not other_work(two, one)
            known = above is not None and below and fair
            found[metric.name] = above / below if known and above and below else None
        elif low_high := ranges.get(metric.name):
            found[metric.name] = low_high[0] if low_high[0] == low_high[1] else None
        else:
            found[metric.name] = _mean(metric, cells)
    return found


def _mean(metric: Metric, cells: list[Cell]) -> float | None:
    """Over the repeats that have it, and requests enough for it to say something."""
    values = metrics.known(metric, [c for c in cells if (c.requests_run or 1) >= metric.requests])
    return stats.mean(values) if values else None


def _waste(cause: str, first: Share, cells: list[Cell]) -> Share:
    """The mean share; how it was had is the same for all repeats."""
    shares = [cell.kv.waste.get(cause) for cell in cells if cell.kv]
    values = [share.value for share in shares if share and share.value is not None]
    return Share(value=stats.mean(values) if values else None, how=first.how)


def _worst_parity(cells: list[Cell]) -> Parity | None:
    judged = [cell.parity for cell in cells if cell.parity]
    return min(
        judged,
        key=lambda found: (_WORST.index(found.verdict), -(found.max_regret or 0), found.identical),
        default=None,
    )


def _worst_checks(cells: list[Cell]) -> list[Check]:
    """One of each name, in the order they first appear."""
    worst: dict[str, Check] = {}
    for check in (check for cell in cells for check in cell.validity):
        known = worst.setdefault(check.name, check)
        if _WORST.index(check.verdict) < _WORST.index(known.verdict):
            worst[check.name] = check
    return list(worst.values())


def memory_kind(result: Result) -> str:
    """Which memory the table is about: the device's, or the process tree's on a CPU."""
    return "device" if result.device == "cuda" else "host"
