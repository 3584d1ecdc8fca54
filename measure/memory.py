"""The part of a result that is about memory: phases, the ledger, and what would have been enough.

Bytes are int, seconds float. A null means "could not be had".
"""

from typing import Literal

from msgspec import Struct, field

How = Literal["measured", "derived", "n/a"]


class Phase(Struct, kw_only=True):
    """One phase of a worker: seconds it took, memory at its end, highest memory seen in it.

    Device bytes are NVML's `used`, above what was used before the cell; host bytes are the process
    tree's PSS (RSS where the sampler had no PSS).
    """

    name: str
    seconds: float
    device_end: int | None = None
    device_peak: int | None = None
    host_end: int | None = None
    host_peak: int | None = None


class Line(Struct, kw_only=True):
    """One line of the memory ledger."""

    name: str
    bytes: int | None
    how: How
    note: str = ""


class Edge(Struct, kw_only=True):
    """Memory at the end of a phase, by who took it: allocator, its slack, and what is outside.

    `total` is measured from outside the process, above the baseline; the parts are the process's
    own counts of the same moment. `outside` is null where the process cannot count it.
    """

    phase: str
    total: int | None
    allocated: int | None
    slack: int | None
    outside: int | None
    residual: int | None


class Ledger(Struct, kw_only=True):
    """Bytes at the peak of the run: the lines and the residual add up to `total`."""

    against: Literal["nvml", "pss"]
    total: int
    """Above the baseline, which is what was there before the cell."""
    baseline: int = 0
    lines: list[Line]
    residual: int
    flagged: bool
    edges: list[Edge] = field(default_factory=list)


class Enough(Struct, kw_only=True):
    """The smallest KV cache that holds what this run held at its peak.

    `pool_blocks` are as the engine counts them, with those it keeps back; null where there are
    none. `gpu_memory_utilization` is the share of the device that this pool and all else in the
    ledger but the slack take; null without a GPU, or where a line is not known.
    """

    pool_blocks: int | None
    pool_bytes: int
    gpu_memory_utilization: float | None
