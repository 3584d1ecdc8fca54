"""The memory ledger: every byte at the run's peak, by name, and what is left over.

On a GPU the lines must add up to what NVML says the cell used above the clean baseline; on a CPU
to the PSS of its process tree. What no line explains is the residual: it is shown, and above a
limit the cell is flagged. A size that could not be had stays null and is never guessed, so its
bytes are then in the residual.
"""

from report.kv import steps
from report.phases import at_end, host_memory
from report.result import How, Ledger, Line
from report.timeline import Timeline
from traces.records import Alloc

LIMIT = {"nvml": 0.02, "pss": 0.05}


def ledger(timeline: Timeline, baseline: int | None) -> Ledger | None:
    """Close the ledger at the peak of the run phase; None where nobody watched the memory."""
    if timeline.window("run") is None:
        return None
    return device_ledger(timeline, baseline) if timeline.seen.devices else host_ledger(timeline)


def device_ledger(timeline: Timeline, baseline: int | None) -> Ledger | None:
    """Against NVML's used bytes, above what was used before the cell."""
    begin, end = timeline.window("run") or (0, 0)
    used = timeline.seen.used()
    peak = used.between(begin, end).peak()
    if peak is None:
        return None
    below = baseline if baseline is not None else int(used.at(timeline.start) or 0)
    facts, at_peak = timeline.facts, _allocator_peak(timeline)
    weights = _line("weights", facts.get("weights_bytes"), "measured", "bytes of the tensors")
    kv = _kv(timeline)
    lines = [
        _line("context", facts.get("context_bytes"), "measured", "driver, modules, libraries"),
        weights,
        kv,
        *_allocator(at_peak, weights.bytes, kv.bytes, facts.get("graph_pool_bytes") or 0),
        _line("CUDA graphs", facts.get("graph_bytes"), "measured", "grown while capturing"),
    ]
    return _closed("nvml", int(peak) - below, below, lines)


def host_ledger(timeline: Timeline) -> Ledger | None:
    """Against the proportional set size of the worker's process tree."""
    begin, end = timeline.window("run") or (0, 0)
    peak = host_memory(timeline).between(begin, end).peak()
    if peak is None:
        return None
    runtime, weights = _at_phase_end(timeline, "import"), timeline.facts.get("weights_bytes")
    lines = [
        _line("runtime", runtime, "measured", "PSS after imports"),
        _line("weights", weights, "measured", "bytes of the tensors"),
        _kv(timeline),
        _host_working(timeline, runtime, weights),
    ]
    return _closed("pss", int(peak), 0, lines)


def _host_working(timeline: Timeline, runtime: int | None, weights: int | None) -> Line:
    """What the warm process holds beyond what has a line: activations, kernels, late imports.

    Taken at the end of the warm-up, so what the run phase adds is left to show as residual.
    """
    warm = _at_phase_end(timeline, "warmup")
    if warm is None or runtime is None or weights is None:
        return _line("activations/other", None, "n/a", "")
    layout = timeline.facts.get("kv_layout")
    kept = _kv(timeline).bytes or 0 if layout in ("paged", "static") else 0
    size = warm - runtime - weights - kept
    return _line("activations/other", size, "derived", "rest of the PSS after the warm-up")


def _closed(against: str, total: int, baseline: int, lines: list[Line]) -> Ledger:
    residual = total - sum(line.bytes or 0 for line in lines)
    return Ledger(
        against="nvml" if against == "nvml" else "pss",
        total=total,
        baseline=baseline,
        lines=lines,
        residual=residual,
        flagged=abs(residual) > LIMIT[against] * total,
    )


def _line(name: str, size: int | None, how: How, note: str) -> Line:
    if size is None:
        return Line(name=name, bytes=None, how="n/a", note="not reported by this backend")
    return Line(name=name, bytes=int(size), how=how, note=note)


def _kv(timeline: Timeline) -> Line:
    """The pool where there is one; else the most the cache held during the run."""
    facts = timeline.facts
    if facts.get("kv_layout") == "paged" and facts.get("pool_bytes"):
        return _line("KV", facts["pool_bytes"], "measured", "the whole pool, used or not")
    found = steps(timeline)
    if found is None or facts.get("bytes_per_slot") is None:
        return _line("KV", None, "n/a", "")
    most = max(found.pool.max(), found.reserved.max())
    return _line("KV", int(most * facts["bytes_per_slot"]), "measured", "cache tensors, largest")


def _allocator_peak(timeline: Timeline) -> Alloc | None:
    """The allocator's peaks over the run phase, as recorded at its end."""
    known = [a for a in timeline.alloc if a.peak_allocated is not None]
    ends = [a for a in known if a.where == "run.end"]
    return (ends or known)[-1] if known else None


def _allocator(
    peak: Alloc | None, weights: int | None, kv: int | None, graph_pool: int
) -> list[Line]:
    """Activations and slack: the allocator's peaks less what has a line of its own.

    The graphs' pool is reserved, and as a rule free, so it is taken from the slack first.
    """
    allocated = peak.peak_allocated if peak else None
    reserved = peak.peak_reserved if peak else None
    if allocated is None or reserved is None or weights is None or kv is None:
        return [_line(name, None, "n/a", "") for name in ("activations", "allocator slack")]
    slack = max(reserved - allocated - graph_pool, 0)
    working = reserved - slack - graph_pool - weights - kv
    return [
        _line("activations", working, "derived", "allocator's peak less weights, KV and graphs"),
        _line("allocator slack", slack, "measured", "reserved less allocated, at their peaks"),
    ]


def _at_phase_end(timeline: Timeline, name: str) -> int | None:
    window = timeline.window(name)
    return at_end(host_memory(timeline), *window) if window else None
