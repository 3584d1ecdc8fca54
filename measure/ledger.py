"""The memory ledger: every byte at the run's peak, by name, and what is left over.

On a GPU the lines must add up to what NVML says the cell used above the clean baseline; on a CPU
to the PSS of its process tree. What no line explains is the residual: it is shown, and above a
limit, or where a line is below zero, the cell is flagged. A size that could not be had stays null
and is never guessed, so its bytes are then in the residual.
"""

from measure import allocator
from measure.allocator import GROWING
from measure.edges import at_edge, phase_ends
from measure.phases import above, at_end, device_baseline, host_memory
from measure.result import How, Ledger, Line
from measure.steps import kv_steps
from measure.timeline import Timeline

LIMIT = {"nvml": 0.02, "pss": 0.05}
NOISE = {"nvml": 0.0, "pss": 0.01}  # of the total: a heap also gives back what the imports left
SLACK, OTHER = "allocator slack", "other"


def close_ledger(timeline: Timeline, baseline: int | None) -> Ledger | None:
    """Close the ledger at the peak of the run phase; None where nobody watched the memory."""
    if timeline.window("run") is None:
        return None
    return device_ledger(timeline, baseline) if timeline.seen.devices else host_ledger(timeline)


def device_ledger(timeline: Timeline, baseline: int | None) -> Ledger | None:
    """Against NVML's used bytes, above what was used before the cell."""
    begin, end = timeline.window("run") or (0, 0)
    below = device_baseline(timeline, baseline)
    used = above(timeline.seen.used(), below)
    peak = used.between(begin, end).peak()
    if peak is None:
        return None
    rank = timeline.layout.rank
    lines = [
        _line("context", rank.context_bytes, "measured", "driver, modules, libraries"),
        *_at_rest(timeline),
        *_working(timeline),
        _line("CUDA graphs", rank.graph_bytes, "measured", "grown while capturing"),
    ]
    found = _closed("nvml", int(peak), below, lines)
    found.edges = phase_ends(timeline, used)
    return found


def host_ledger(timeline: Timeline) -> Ledger | None:
    """Against the proportional set size of the worker's process tree."""
    begin, end = timeline.window("run") or (0, 0)
    peak = host_memory(timeline).between(begin, end).peak()
    if peak is None:
        return None
    found = _closed("pss", int(peak), 0, _host_lines(timeline))
    found.edges = phase_ends(timeline, host_memory(timeline))
    return found


def named_at_rest(timeline: Timeline) -> int | None:
    """Bytes that must be handed out before the first request: weights, pool, and a mask.

    Weights that are mapped from their file are in no heap.
    """
    facts, layout, kv = timeline.facts, timeline.layout, _kv(timeline).bytes
    weights = layout.rank.weights_bytes
    if weights is None or kv is None:
        return None
    mapped = min(weights, facts.pss_weights_file_bytes.get("run.end") or 0)
    stays = 0 if layout.kind in GROWING else kv
    return weights - mapped + stays + (facts.mask_bytes or 0)


def _at_rest(timeline: Timeline) -> list[Line]:
    """What has its place before the first request, and the cache."""
    mask, weights = timeline.facts.mask_bytes, timeline.layout.rank.weights_bytes
    rest, named = allocator.at_rest(timeline), named_at_rest(timeline)
    other = None if rest is None or named is None else rest - named
    lines = [
        _line("weights", weights, "measured", "bytes of the tensors"),
        _kv(timeline),
        _line("workspace", other, "measured", "there before the first request, beside all named"),
    ]
    if mask:
        lines.append(_line("attention mask", mask, "measured", "made up front"))
    return lines


def _working(timeline: Timeline) -> list[Line]:
    """What a step takes beside the cache, and the allocator's slack.

    The graphs' pool is reserved, and as a rule free, so it is taken from the slack first.
    """
    peak = allocator.run_peak(timeline)
    slack = None
    if peak is not None:
        free = peak.reserved - peak.allocated - (timeline.facts.graph_pool_bytes or 0)
        slack = max(free, 0)
    return [
        *_activations(timeline, peak),
        _line(SLACK, slack, "measured", "reserved less allocated, at their peaks"),
    ]


def _activations(timeline: Timeline, peak: allocator.Peak | None) -> list[Line]:
    """The allocator's peak above what is there before it, or after it where the cache grows.

    A trace without peaks of steps says only what the peak was above a cache at its largest.
    """
    kv, rest = _kv(timeline).bytes, allocator.at_rest(timeline)
    growing = timeline.layout.kind in GROWING
    if growing and (step := allocator.peak_step(timeline)):
        copied = _copied(timeline, step)
        note = "the allocator's peak in a step less what is left at its end, less the copy"
        return [
            _line("activations", step.peak - step.end - copied, "measured", note),
            _line("cache copy", copied, "derived", "one tensor of the cache, while it grows"),
        ]
    if peak is None or rest is None or (growing and kv is None):
        return [_line("activations", None, "n/a", "")]
    if growing:
        note = "the allocator's peak above the run's begin, less the largest cache"
        return [_line("activations", peak.allocated - rest - (kv or 0), "derived", note)]
    note = "the allocator's peak above the run's begin"
    return [_line("activations", peak.allocated - rest, "measured", note)]


def _copied(timeline: Timeline, step: allocator.PeakStep) -> int:
    """Bytes of the tensor that is there twice while a cache grows, one tensor after the other."""
    tensors, size = timeline.facts.cache_tensors, timeline.layout.group.bytes_per_token
    if not (step.grown and size and tensors):
        return 0
    return min(step.slots * size // tensors, step.peak - step.end)


def _host_lines(timeline: Timeline) -> list[Line]:
    """What the process held at the end of the run, by where it was mapped and allocated.

    Files and anonymous memory are told apart by the kernel (smaps), what of the latter is the
    C heap's by the C library (mallinfo2); both were read in the process itself. Weights mapped
    from their file are in no heap. The peak may be higher than the end: that is the residual.
    """
    facts, layout = timeline.facts, timeline.layout
    runtime = _line("runtime", _at_phase_end(timeline, "import"), "measured", "PSS after imports")
    files, anonymous = _grown(facts.pss_files_bytes), _grown(facts.pss_anonymous_bytes)
    used, taken = _heap_growth(timeline)
    rest = allocator.at_rest(timeline)
    if None in (files, anonymous, used, taken, rest) or not layout.rank.weights_bytes:
        return [runtime, *_at_rest(timeline), _line("activations", None, "n/a", "")]
    freed = (_kv(timeline).bytes or 0) if layout.kind in GROWING else 0
    slack = max((taken or 0) - (used or 0) - freed, 0)
    return [
        runtime,
        _line("code", files, "measured", "pages of libraries used since the imports"),
        *_at_rest(timeline),
        _line("activations", (used or 0) - (rest or 0), "measured", "C heap grown in the run"),
        _line(SLACK, slack, "measured", "C heap held but not in use, less a cache that was freed"),
        _line(OTHER, (anonymous or 0) - (taken or 0), "measured",
              "outside the C heap: Python objects, stacks"),
    ]  # fmt: skip


def _grown(at_edges: dict[str, int | None]) -> int | None:
    """Bytes more at the end of the run than after the imports."""
    begin, end = at_edges.get("import.end"), at_edges.get("run.end")
    return None if begin is None or end is None else end - begin


def _heap_growth(timeline: Timeline) -> tuple[int | None, int | None]:
    """Bytes that the C heap handed out, and took from the system, from the imports to the end."""
    begin, end = at_edge(timeline, "import.end"), at_edge(timeline, "run.end")
    if not (begin and end and begin.allocated and end.allocated):
        return None, None
    return end.allocated - begin.allocated, (end.reserved or 0) - (begin.reserved or 0)


def _closed(against: str, total: int, baseline: int, lines: list[Line]) -> Ledger:
    residual = total - sum(line.bytes or 0 for line in lines)
    found = Ledger(
        against="nvml" if against == "nvml" else "pss",
        total=total,
        baseline=baseline,
        lines=lines,
        residual=residual,
        flagged=False,
    )
    found.flagged = abs(residual) > LIMIT[against] * total or bool(below_zero(found))
    return found


def below_zero(ledger: Ledger) -> list[str]:
    """The names of lines that cannot be: what is measured elsewhere is more than there was.

    Not so "other": what a heap took and never touched is in no process's memory.
    """
    least = -NOISE[ledger.against] * ledger.total
    lines = (line for line in ledger.lines if line.name != OTHER)
    return [line.name for line in lines if line.bytes is not None and line.bytes < least]


def _line(name: str, size: int | None, how: How, note: str) -> Line:
    if size is None:
        return Line(name=name, bytes=None, how="n/a", note="not reported by this backend")
    return Line(name=name, bytes=int(size), how=how, note=note)


def _kv(timeline: Timeline) -> Line:
    """The pool where there is one; else what the cache held: at the peak, or where that is not
    known, at most.
    """
    layout, size = timeline.layout, timeline.layout.group.bytes_per_token
    if layout.kind == "paged" and (pool := layout.rank.pool_bytes):
        return _line("KV", pool, "measured", "the whole pool, used or not")
    found = kv_steps(timeline)
    if found is None or size is None:
        return _line("KV", None, "n/a", "")
    if layout.kind in GROWING and (step := allocator.peak_step(timeline)):
        note = "cache tensors, at the allocator's peak"
        return _line("KV", step.slots * size, "measured", note)
    most = max(found.pool.max(), found.held.max())
    return _line("KV", int(most * size), "measured", "cache tensors, largest")


def _at_phase_end(timeline: Timeline, name: str) -> int | None:
    window = timeline.window(name)
    return at_end(host_memory(timeline), window[1]) if window else None
