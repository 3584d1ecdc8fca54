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


def phase_ends(timeline: Timeline, memory: Series, baseline: int) -> list[Edge]:
    """One entry for each phase at whose end the process counted its memory."""
    counted = {alloc.where: alloc for alloc in timeline.alloc}
    found = []
    for phase in timeline.phases:
        alloc = counted.get(f"{phase}.end")
        window = timeline.window(phase)
        if alloc is not None and window is not None:
            used = at_end(memory, alloc.t)
            total = None if used is None else used - baseline
            found.append(_edge(phase, total, alloc, timeline))
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
