"""The memory ledger: every byte at the run's peak, by name, and what is left over.

On a GPU the lines must add up to what NVML says the cell used above the clean baseline; on a CPU
to the PSS of its process tree. What no line explains is the residual: it is shown, and above a
limit the cell is flagged. A size that could not be had stays null and is never guessed, so its
bytes are then in the residual.
"""

from measure.edges import phase_ends
from measure.phases import at_end, host_memory
from measure.result import How, Ledger, Line
from measure.steps import kv_steps
from measure.timeline import Timeline
from traces.records import Alloc

LIMIT = {"nvml": 0.02, "pss": 0.05}


def close_ledger(timeline: Timeline, baseline: int | None) -> Ledger | None:
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
    weights = _line("weights", facts.weights_bytes, "measured", "bytes of the tensors")
    kv = _kv(timeline)
    lines = [
        _line("context", facts.context_bytes, "measured", "driver, modules, libraries"),
        weights,
        kv,
        *_allocator(at_peak, weights.bytes, kv.bytes, facts.graph_pool_bytes or 0),
        _line("CUDA graphs", facts.graph_bytes, "measured", "grown while capturing"),
    ]
    found = _closed("nvml", int(peak) - below, below, lines)
    found.edges = phase_ends(timeline, used, below)
    return found


def host_ledger(timeline: Timeline) -> Ledger | None:
    """Against the proportional set size of the worker's process tree."""
    begin, end = timeline.window("run") or (0, 0)
    peak = host_memory(timeline).between(begin, end).peak()
    if peak is None:
        return None
    found = _closed("pss", int(peak), 0, _host_lines(timeline))
    found.edges = phase_ends(timeline, host_memory(timeline), 0)
    return found


def _host_lines(timeline: Timeline) -> list[Line]:
    """What the process held at the end of the run, by where it was mapped and allocated.

    Files and anonymous memory are told apart by the kernel (smaps), what of the latter is the
    C heap's by the C library (mallinfo2); both were read in the process itself. Weights mapped
    from their file are in no heap. The peak may be higher than the end: that is the residual.
    """
    facts = timeline.facts
    runtime = _line("runtime", _at_phase_end(timeline, "import"), "measured", "PSS after imports")
    weights = _line("weights", facts.weights_bytes, "measured", "bytes of the tensors")
    kv = _kv(timeline)
    files, anonymous = _grown(facts.pss_files_bytes), _grown(facts.pss_anonymous_bytes)
    used, taken = _heap_growth(timeline)
    if files is None or anonymous is None or used is None or taken is None or not weights.bytes:
        return [runtime, weights, kv, _line("activations", None, "n/a", "")]
    stays = kv.bytes or 0 if facts.kv_layout in ("paged", "static") else 0
    mapped = min(weights.bytes, facts.pss_weights_file_bytes.get("run.end") or 0)
    working = used - (weights.bytes - mapped) - stays
    return [
        runtime,
        _line("code", files, "measured", "pages of libraries used since the imports"),
        weights,
        kv,
        _line("activations", working, "derived", "C heap in use since the imports, less the above"),
        _line("allocator slack", taken - used, "measured", "C heap held but not in use"),
        _line("other", anonymous - taken, "measured", "outside the C heap: Python objects, stacks"),
    ]


def _grown(at_edges: dict[str, int | None]) -> int | None:
    """Bytes more at the end of the run than after the imports."""
    begin, end = at_edges.get("import.end"), at_edges.get("run.end")
    return None if begin is None or end is None else end - begin


def _heap_growth(timeline: Timeline) -> tuple[int | None, int | None]:
    """Bytes that the C heap handed out, and took from the system, from the imports to the end."""
    heap = {alloc.where: alloc for alloc in timeline.alloc}
    begin, end = heap.get("import.end"), heap.get("run.end")
    if not (begin and end and begin.allocated and end.allocated):
        return None, None
    return end.allocated - begin.allocated, (end.reserved or 0) - (begin.reserved or 0)


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
    if facts.kv_layout == "paged" and facts.pool_bytes:
        return _line("KV", facts.pool_bytes, "measured", "the whole pool, used or not")
    found = kv_steps(timeline)
    if found is None or facts.bytes_per_slot is None:
        return _line("KV", None, "n/a", "")
    most = max(found.pool.max(), found.held.max())
    return _line("KV", int(most * facts.bytes_per_slot), "measured", "cache tensors, largest")


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
    return at_end(host_memory(timeline), window[1]) if window else None
