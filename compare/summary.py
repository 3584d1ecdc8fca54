"""One column per backend: its repeats brought together, ready for any renderer.

Every metric is a mean over the repeats that ran to their end; a backend none of whose repeats did
is still there, with its status, the reason and its last log lines. Numbers only: a metric knows
how it is written, and `report.words` what is said of outcomes.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from compare import metrics, stats
from compare.headline import by_label
from compare.metrics import Metric
from measure.result import Cell, Check, Parity, Result, Share


class Column(Struct, kw_only=True):
    """One backend, as configured, over its repeats. Bytes, seconds, tokens, shares."""

    label: str
    backend: str
    status: str
    reason: str = ""
    truncated: str = ""
    log_tail: list[str] = field(default_factory=list)
    repeats: int = 0
    ok: int = 0
    values: dict[str, float | None] = field(default_factory=dict)
    """The mean of every metric, by its name."""
    waste: dict[str, Share] = field(default_factory=dict)
    layout: str | None = None
    parity: Parity | None = None
    failed_checks: list[Check] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    first: Cell


def columns(result: Result) -> list[Column]:
    """All backends of the result, in its order."""
    groups: dict[str, list[Cell]] = {}
    for cell in result.cells:
        groups.setdefault(cell.label, []).append(cell)
    passed = by_label(result)
    return [_column(result, label, cells, passed) for label, cells in groups.items()]


def _column(
    result: Result, label: str, cells: list[Cell], passed: Mapping[str, list[Cell]]
) -> Column:
    ran = [cell for cell in cells if cell.status == "ok"]
    shown = (ran or cells)[0]
    statuses = list(dict.fromkeys(cell.status for cell in cells))
    failed = next((cell for cell in cells if cell.status != "ok"), None)
    about = result.volatile.get("cells", {}).get(f"{label}.r{failed.repeat}", {}) if failed else {}
    return Column(
        label=label,
        backend=shown.backend,
        status=", ".join(statuses),
        reason=failed.reason if failed else "",
        truncated=next((cell.truncated for cell in cells if cell.truncated), ""),
        log_tail=[str(line) for line in about.get("log_tail") or []],
        repeats=len(cells),
        ok=len(ran),
        values=_values(label, ran or cells, passed),
        waste=shown.kv.waste if shown.kv else {},
        layout=shown.kv.layout if shown.kv else None,
        parity=shown.parity,
        failed_checks=[check for check in shown.validity if check.verdict == "fail"],
        suspect=list(dict.fromkeys(doubt for cell in cells for doubt in cell.suspect)),
        first=shown,
    )


def _values(
    label: str, cells: list[Cell], passed: Mapping[str, list[Cell]]
) -> dict[str, float | None]:
    """Every metric's mean over the repeats; a ratio is over those that did not fail parity."""
    found: dict[str, float | None] = {}
    for metric in metrics.EVERY.values():
        if metric.over:
            above, below = (_mean(metric, passed.get(name, [])) for name in (label, metric.over))
            found[metric.name] = above / below if above is not None and below else None
        else:
            found[metric.name] = _mean(metric, cells)
    return found


def _mean(metric: Metric, cells: list[Cell]) -> float | None:
    """Over the repeats that have it, and requests enough for it to say something."""
    values = metrics.known(metric, [c for c in cells if (c.requests_run or 1) >= metric.requests])
    return stats.mean(values) if values else None


def memory_kind(result: Result) -> str:
    """Which memory the table is about: the device's, or the process tree's on a CPU."""
    return "device" if result.device == "cuda" else "host"
