"""One column per backend: its repeats brought together, ready for any renderer.

Measured numbers are geometric means over the repeats that ran to their end; a backend none of
whose repeats did is still there, with its status, the reason and its last log lines. Numbers
only: how they are written is `report.words` and the renderers' business.
"""

from collections.abc import Callable, Iterable
from statistics import fmean

from msgspec import Struct, field

from compare import stats
from compare.compare import BASELINE, speed_up
from compare.metrics import P90_REQUESTS, P99_REQUESTS
from measure.result import Cell, Check, Parity, Phase, Result, Share

TIMING = ("wall", "output_tokens_per_s", "ttft_mean", "tpot_mean", "joules_per_token")
KV = (
    "efficiency", "mean_live", "mean_reserved", "pool_slots", "bytes_per_slot", "pool_bytes",
    "peak_running", "mean_running", "peak_live", "peak_reserved", "bytes_held_per_live_token",
)  # fmt: skip


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
    return [_column(result, label, cells) for label, cells in groups.items()]


def _column(result: Result, label: str, cells: list[Cell]) -> Column:
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
        values=_values(result, label, ran or cells),
        waste=shown.kv.waste if shown.kv else {},
        layout=shown.kv.layout if shown.kv else None,
        parity=shown.parity,
        failed_checks=[check for check in shown.validity if check.verdict == "fail"],
        suspect=list(dict.fromkeys(doubt for cell in cells for doubt in cell.suspect)),
        first=shown,
    )


def _values(result: Result, label: str, cells: list[Cell]) -> dict[str, float | None]:
    found = {name: _mean(read(cell) for cell in cells) for name, read in READ.items()}
    for side in ("live", "reserved"):
        per_slot, mean = found["bytes_per_slot"], found[f"mean_{side}"]
        found[f"mean_{side}_bytes"] = per_slot * mean if per_slot and mean is not None else None
    found["speed_up"] = speed_up(result, label, BASELINE)
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    return stats.geometric(known) if min(known) > 0 else fmean(known)


def memory_kind(result: Result) -> str:
    """Which memory the table is about: the device's, or the process tree's on a CPU."""
    return "device" if result.device == "cuda" else "host"


def _phase(name: str, what: str) -> Callable[[Cell], float | None]:
    def read(cell: Cell) -> float | None:
        phase = next((phase for phase in cell.phases if phase.name == name), None)
        return _memory(phase, what) if phase else None

    return read


def _memory(phase: Phase, what: str) -> float | None:
    device: int | None = getattr(phase, f"device_{what}")
    host: int | None = getattr(phase, f"host_{what}")
    return device if device is not None else host


def _of(part: str, name: str) -> Callable[[Cell], float | None]:
    return lambda cell: getattr(getattr(cell, part), name, None)


def _request_mean(cell: Cell) -> float | None:
    took = [
        row.last - row.start for row in cell.rows if row.last is not None and row.start is not None
    ]
    return fmean(took) if took else None


def _supported(name: str, requests: int) -> Callable[[Cell], float | None]:
    """A percentile, where there are requests enough for it to say something."""
    return lambda cell: _of("timing", name)(cell) if (cell.requests_run or 0) >= requests else None


READ: dict[str, Callable[[Cell], float | None]] = {
    "after_import": _phase("import", "end"),
    "after_load": _phase("load", "end"),
    "peak": _phase("run", "peak"),
    "after": lambda cell: (
        cell.device_after if cell.device_after is not None else _phase("teardown", "end")(cell)
    ),
    "request_mean": _request_mean,
    "ttft_p90": _supported("ttft_p90", P90_REQUESTS),
    "ttft_p99": _supported("ttft_p99", P99_REQUESTS),
    "preempted": lambda cell: (cell.kv.preempted or None) if cell.kv else None,
    "output_tokens": lambda cell: cell.output_tokens,
    "requests_run": lambda cell: cell.requests_run,
    **{name: _of("timing", name) for name in TIMING},
    **{name: _of("kv", name) for name in KV},
}
