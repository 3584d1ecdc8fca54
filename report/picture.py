"""One cell as the page draws it: its lines over time, reduced to what a screen can show.

Times are seconds from the begin of the cell's first phase, so that all cells start together.
"""

import numpy as np
from msgspec import Struct

from measure.columns import Floats, Ints, Series
from measure.gaps import token_gaps
from measure.phases import host_memory
from measure.speed import TokensBy
from measure.steps import kv_steps
from measure.timeline import Timeline
from report.blockmap import Drawing, drawing
from report.reduce import COLUMNS, keep_places, reduce

TAIL = 3_000_000_000  # shown after the last phase, to see the memory come back
GAP_BINS = 24  # per factor of ten
SHORTEST = 1e-6  # seconds: two tokens at once are drawn here


class Curve(Struct, frozen=True, kw_only=True):
    """Values at points in time."""

    t: list[float]
    v: list[float]


class MemoryLines(Struct, frozen=True, kw_only=True):
    """Bytes of the devices, or of the host; each device by itself where there are several."""

    kind: str
    lines: dict[str, Curve]


class KvLines(Struct, frozen=True, kw_only=True):
    """Slots and requests at shared points in time, the last value given twice."""

    t: list[float | None]
    live: list[float | None]
    held: list[float | None]
    running: list[float | None]
    waiting: list[float | None]
    pool: int
    bytes_per_slot: int | None


class GapShares(Struct, frozen=True, kw_only=True):
    """How the gaps between tokens are spread: shares between edges in seconds, and percentiles."""

    edges: list[float]
    shares: list[float]
    counted: int
    requests: int
    how: TokensBy
    p50: float
    p90: float
    p99: float


class Picture(Struct, frozen=True, kw_only=True):
    """Everything drawn of a cell. A phase is its name, begin and end; a request its id and times:
    arrived, begun, first token, last token."""

    phases: list[tuple[str, float | None, float | None]]
    memory: MemoryLines
    kv: KvLines | None
    load: dict[str, dict[str, Curve]]
    gaps: GapShares | None
    blocks: Drawing | None
    requests: list[tuple[str, float | None, float | None, float | None, float | None]]


def picture(timeline: Timeline) -> Picture:
    """Everything drawn about one cell."""
    start = timeline.start
    end = max([timeline.last, *(w.end or 0 for w in timeline.phases.values())]) + TAIL
    return Picture(
        phases=[
            (name, _s(window.begin, start), _s(timeline.window(name)[1], start))  # type: ignore[index]
            for name, window in timeline.phases.items()
        ],
        memory=_memory(timeline, start, end),
        kv=_kv(timeline, start),
        load=_load(timeline, start, end),
        gaps=_gaps(timeline),
        blocks=drawing(timeline, start),
        requests=[
            (r.id, _s(r.arrive, start), _s(r.start, start), _s(r.first, start), _s(r.last, start))
            for r in timeline.requests
        ],
    )


def _memory(timeline: Timeline, start: int, end: int) -> MemoryLines:
    devices = timeline.seen.devices
    total = timeline.seen.used() if devices else host_memory(timeline)
    lines = {"total": _line(reduce(total, start, end), start)}
    if len(devices) > 1:
        for uuid, device in devices.items():
            lines[uuid] = _line(reduce(device.memory.series("used"), start, end), start)
    return MemoryLines(kind="device" if devices else "host", lines=lines)


def _line(series: Series, start: int) -> Curve:
    return Curve(t=_times(series.t, start), v=series.v.tolist())


def _kv(timeline: Timeline, start: int) -> KvLines | None:
    """Live and held slots, and the requests in flight, on shared points in time."""
    found = kv_steps(timeline)
    if found is None:
        return None
    end = int(found.t_ns[-1] + found.dt_ns[-1])
    keep = np.arange(len(found.t_ns))
    if len(keep) > 4 * COLUMNS:
        kept = [
            keep_places(found.t_ns, values, int(found.t_ns[0]), end, COLUMNS // 2)
            for values in (found.stored, found.held, found.running)
        ]
        keep = np.unique(np.concatenate(kept))
    return KvLines(
        t=[*_times(found.t_ns[keep], start), _s(end, start)],
        live=_last_again(found.stored[keep]),
        held=_last_again(found.held[keep]),
        running=_last_again(found.running[keep]),
        waiting=_last_again(found.waiting[keep]),
        pool=int(found.pool.max()),
        bytes_per_slot=timeline.layout.group.bytes_per_token,
    )


def _load(timeline: Timeline, start: int, end: int) -> dict[str, dict[str, Curve]]:
    """Power and utilisation of each device."""
    lines = {}
    for uuid, device in timeline.seen.devices.items():
        lines[uuid] = {
            name: _line(reduce(device.load.series(name), start, end, COLUMNS // 4), start)
            for name in ("power_w", "gpu_util")
        }
    return lines


def _gaps(timeline: Timeline) -> GapShares | None:
    """How long requests waited between two tokens, as shares of all gaps on a log scale.

    All cells have the same bins, so that the heights of two backends can be compared.
    """
    found = token_gaps(timeline)
    if found is None:
        return None
    took = np.maximum(found.gap_s, SHORTEST)
    low = np.floor(np.log10(took.min()) * GAP_BINS)
    high = np.floor(np.log10(took.max()) * GAP_BINS) + 1
    edges = 10 ** (np.arange(low, high + 1) / GAP_BINS)
    counts, _ = np.histogram(took, edges, weights=found.times)
    return GapShares(
        edges=[float(f"{edge:.4g}") for edge in edges],
        shares=[round(float(share), 5) for share in counts / found.times.sum()],
        counted=found.counted,
        requests=found.requests,
        how=found.how,
        p50=found.percentile(50),
        p90=found.percentile(90),
        p99=found.percentile(99),
    )


def _last_again(values: Floats) -> list[float | None]:
    """The last value once more: it holds until the end of the run."""
    shown: list[float | None] = [None if v != v else v for v in values.tolist()]
    return [*shown, shown[-1]]


def _times(t: Ints, start: int) -> list[float]:
    shown: list[float] = np.round((t - start) / 1e9, 5).tolist()
    return shown


def _s(t: int | None, start: int) -> float | None:
    return None if t is None else round((t - start) / 1e9, 5)
