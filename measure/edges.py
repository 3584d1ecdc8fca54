"""Memory at the end of each phase, by who took it: the ledger's smaller sister.

On a GPU the allocator is torch's and the total NVML's; without one it is the C heap, and the
total the PSS of the process tree. The process cannot see what is outside of its heap, so there
that part is null and no residual is left to check.
"""

from measure.columns import Series
from measure.phases import at_end
from measure.result import Edge
from measure.timeline import Timeline
from traces.records import Alloc


def at_edge(timeline: Timeline, where: str) -> Alloc | None:
    """The allocator as the process counted it at a phase's edge."""
    found = [alloc for alloc in timeline.alloc if alloc.where == where]
    return found[-1] if found else None


def phase_ends(timeline: Timeline, memory: Series) -> list[Edge]:
    """One entry for each phase at whose end the process counted its memory.

    `memory` is the whole of it, seen from outside, in bytes above the baseline.
    """
    counted = {alloc.where: alloc for alloc in timeline.alloc}
    found = []
    for phase in timeline.phases:
        alloc = counted.get(f"{phase}.end")
        window = timeline.window(phase)
        if alloc is not None and window is not None:
            found.append(_edge(phase, at_end(memory, alloc.t), alloc, timeline))
    return found


def _edge(phase: str, total: int | None, alloc: Alloc, timeline: Timeline) -> Edge:
    outside = timeline.facts.outside_allocator_bytes.get(f"{phase}.end")
    slack = None
    if alloc.reserved is not None and alloc.allocated is not None:
        slack = alloc.reserved - alloc.allocated
    residual = None
    if None not in (total, alloc.reserved, outside):
        residual = total - alloc.reserved - outside  # type: ignore[operator]
    return Edge(
        phase=phase,
        total=total,
        allocated=alloc.allocated,
        slack=slack,
        outside=outside,
        residual=residual,
    )
