"""What an allocator held: at rest, before the first request, and at its peak in the run.

On a GPU it is torch's, which keeps its own peaks; without one the C heap, which keeps none. At rest
are the weights, a pool or static cache, and what the engine made for itself: workspaces, a mask.
"""

from typing import NamedTuple

import numpy as np

from measure.edges import at_edge
from measure.steps import kv_steps
from measure.timeline import Timeline

GROWING = ("dynamic", "padded")
"""Layouts of a cache that is made anew for each batch: nothing of it is there at rest."""


class Peak(NamedTuple):
    """Bytes at most in the run, handed out and taken: each has a moment of its own."""

    allocated: int
    reserved: int


class PeakStep(NamedTuple):
    """The step of a growing cache in which most was handed out.

    Bytes at that peak and at the step's end, slots of the cache then, and whether these replaced
    others: tensors that grow are copied one by one, and for a moment both are there.
    """

    peak: int
    end: int
    slots: int
    grown: bool


def at_rest(timeline: Timeline) -> int | None:
    """Bytes handed out before the first request; of a C heap, since the imports."""
    rest = at_edge(timeline, "warmup.end")
    if rest is None or rest.allocated is None:
        return None
    if timeline.seen.devices:
        return rest.allocated
    imports = at_edge(timeline, "import.end")
    before = imports.allocated if imports else None
    return None if before is None else rest.allocated - before


def run_peak(timeline: Timeline) -> Peak | None:
    """The peaks since the run's begin; where each step starts them anew, the highest of all."""
    end = at_edge(timeline, "run.end")
    if end is None or end.peak_allocated is None or end.peak_reserved is None:
        return None
    steps = timeline.steps.between(*(timeline.window("run") or (0, 0)))
    known = [steps.series(name).peak() or 0 for name in ("peak_allocated", "peak_reserved")]
    return Peak(max(end.peak_allocated, int(known[0])), max(end.peak_reserved, int(known[1])))


def peak_step(timeline: Timeline) -> PeakStep | None:
    """The step with the highest peak; None where the trace has no peaks of steps."""
    steps, kv = timeline.steps.between(*(timeline.window("run") or (0, 0))), kv_steps(timeline)
    peaks = steps.column("peak_allocated") if len(steps) else np.empty(0)
    if kv is None or not len(peaks) or np.isnan(peaks).all():
        return None
    place = int(np.nanargmax(peaks))
    step = max(int(np.searchsorted(kv.t_ns, steps.t[place], side="right")) - 1, 0)
    before = kv.held[step - 1] if step else 0.0
    return PeakStep(
        peak=int(peaks[place]),
        end=int(steps.column("allocated")[place]),
        slots=int(kv.held[step]),
        grown=bool(0 < before < kv.held[step]),
    )
