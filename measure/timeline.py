"""One cell's timeline: what its worker said and what the sampler saw, on one clock.

`merge` builds it; the ledger, the KV numbers, the timing and the pictures read it. Times are
monotonic nanoseconds.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from measure.columns import Columns
from measure.sampled import Sampled
from traces.facts import EngineFacts, Values, from_values
from traces.layout import Layout
from traces.records import Alloc, Header, Request

KV = (
    "step",
    "held",
    "stored",
    "shared",
    "pad",
    "ahead",
    "pool",
    "running",
    "waiting",
    "preempted",
    "free_blocks",
    "computed",
    "produced",
)
ALLOC = ("allocated", "reserved", "inactive_split", "peak_allocated", "peak_reserved")


@dataclass(slots=True)
class Window:
    """A phase. `end` is None when the worker did not live to see it."""

    begin: int
    end: int | None = None


@dataclass(slots=True)
class BlockLog:
    """Who gained or lost which physical block, in order of time; `requests` names the indices.

    `ends` are the last steps of requests: when each had ended, whose it was, what it had stored.
    """

    requests: list[str] = field(default_factory=list)
    t: "array[int]" = field(default_factory=lambda: array("q"))
    request: "array[int]" = field(default_factory=lambda: array("i"))
    block: "array[int]" = field(default_factory=lambda: array("i"))
    gained: "array[int]" = field(default_factory=lambda: array("b"))
    ends: list[tuple[int, str, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.t)

    def changes(self) -> Iterator[tuple[int, int, int]]:
        """Yield time, index of the request, and 1 for a block gained or 0 for one lost."""
        return zip(self.t, self.request, self.gained, strict=True)


def _kv() -> Columns:
    return Columns(*KV)


def _alloc() -> Columns:
    return Columns(*ALLOC)


@dataclass(slots=True)
class Timeline:
    """Everything recorded about one cell."""

    headers: list[Header] = field(default_factory=list)
    phases: dict[str, Window] = field(default_factory=dict)
    kv: Columns = field(default_factory=_kv)
    blocks: BlockLog = field(default_factory=BlockLog)
    requests: list[Request] = field(default_factory=list)
    alloc: list[Alloc] = field(default_factory=list)
    """The allocator at phase edges; its state at every step is in `steps`."""
    steps: Columns = field(default_factory=_alloc)
    layout: Layout = field(default_factory=Layout)
    facts: EngineFacts = field(default_factory=EngineFacts)
    said: list[tuple[int, Values]] = field(default_factory=list)
    """The facts as they were said, and when: in several run windows they differ."""
    points: dict[str, Window] = field(default_factory=dict)
    """Run windows by name, where the engine had several; the phase "run" spans them all."""
    seen: Sampled = field(default_factory=Sampled)
    last: int = 0

    @property
    def start(self) -> int:
        """The begin of the first phase: what the pictures of every cell start from."""
        begins = [window.begin for window in self.phases.values()]
        return min(begins, default=self.headers[0].t if self.headers else 0)

    def window(self, phase: str) -> tuple[int, int] | None:
        """Begin and end of a phase; one that never ended lasts to the worker's last record."""
        found = self.phases.get(phase)
        if found is None:
            return None
        return found.begin, found.end if found.end is not None else max(self.last, found.begin)

    def finished(self, phase: str) -> bool:
        """Whether the phase was seen to end."""
        found = self.phases.get(phase)
        return found is not None and found.end is not None


def at_point(timeline: Timeline, name: str) -> Timeline:
    """One run window as a timeline whose only phase it is, with the facts that were said by then.

    An engine's account of a window is written after it, before the next one begins.
    """
    window = timeline.points[name]
    end = window.end if window.end is not None else timeline.last
    later = [other.begin for other in timeline.points.values() if other.begin > window.begin]
    known: Values = {}
    for t, values in timeline.said:
        if not later or t < min(later):
            known |= values
    return replace(
        timeline,
        phases={"run": window},
        points={},
        requests=[request for request in timeline.requests if window.begin <= request.t <= end],
        facts=from_values(known),
    )


def final_lengths(timeline: Timeline) -> dict[str, int]:
    """Tokens stored for each request at its last step: the last token's own KV is never stored."""
    return {
        request.id: request.prompt_tokens + max(request.output_tokens - 1, 0)
        for request in timeline.requests
    }
