"""The block map: which part of KV memory belonged to which request, when.

Paged memory is many rows of one block each; a contiguous cache is few rows as long as it reserves.
Both come out in the same form, so that the same drawing shows both at the same scale: intervals of
a row and a request, and for each request how its tokens grew. The growth within a request is drawn
as a straight line between its first and its last token: steps are recorded for all requests
together, not for each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType
from msgspec import field as named

from measure.timeline import Timeline, final_lengths

MOST = 60_000  # intervals drawn; with more, only every n-th row is


@dataclass(slots=True)
class Held:
    """A row held by a request. `place` is the request's block number on it: its logical block."""

    row: int
    request: str
    place: int
    begin: int
    end: int


@dataclass(slots=True)
class BlockMap:
    """Intervals in order of their begin, over [begin, end]."""

    begin: int
    end: int
    held: list[Held] = field(default_factory=list)

    @property
    def rows(self) -> list[int]:
        """The physical numbers of the rows ever held, in order."""
        return sorted({held.row for held in self.held})


class Growth(Struct, frozen=True, kw_only=True):
    """A request: when it began, its first and last token in seconds, its lengths in tokens."""

    id: str
    start: float | None
    first: float | None
    last: float | None
    prompt: int | None
    final: int | None


class MapShape(NamedTuple):
    """Rows of a tensor: slots of the longest, and of each its pads and its length at its begin and
    end."""

    slots: int
    pad: list[int]
    long: list[list[int]]


class Drawing(Struct, frozen=True, kw_only=True):
    """What the page draws: of each interval its row and request by index, and its times.

    `every` is above one where only every n-th row is drawn; `ids` are the rows' physical numbers.
    """

    paged: bool
    begin: float | None
    end: float | None
    every: int
    slots: int
    pad: list[int] | UnsetType = UNSET
    long: list[list[int]] | UnsetType = UNSET
    pool_rows: int | None
    ids: list[int]
    row: list[int]
    request: list[int]
    place: list[int]
    since: list[float | None] = named(name="from")
    to: list[float | None]
    requests: list[Growth]


def block_map(timeline: Timeline) -> BlockMap | None:
    """The intervals of the run phase, or None where no block was recorded."""
    window = timeline.window("run")
    if window is None or not len(timeline.blocks):
        return None
    found = BlockMap(*window)
    found.held = sorted(_intervals(timeline, *window), key=lambda held: (held.begin, held.row))
    return found if found.held else None


def _intervals(timeline: Timeline, begin: int, end: int) -> Iterator[Held]:
    log = timeline.blocks
    holding: dict[tuple[int, int], tuple[int, int]] = {}
    length = [0] * len(log.requests)
    for t, request, block, gained in zip(log.t, log.request, log.block, log.gained, strict=True):
        if gained:
            holding[(request, block)] = (t, length[request])
            length[request] += 1
        elif (request, block) in holding:
            since, place = holding.pop((request, block))
            length[request] -= 1
            if t >= begin and since <= end:
                yield Held(block, log.requests[request], place, max(since, begin), min(t, end))
    for (request, block), (since, place) in holding.items():  # held to the end, or cut off
        if since <= end:
            yield Held(block, log.requests[request], place, max(since, begin), end)


def drawing(timeline: Timeline, start: int) -> Drawing | None:
    """What the page draws, in seconds from `start`; rows and requests by index."""
    found = block_map(timeline)
    if found is None:
        return None
    rows, every = found.rows, 1
    if len(found.held) > MOST:
        every = -(-len(found.held) // MOST)
        rows = rows[::every]
    place = {row: index for index, row in enumerate(rows)}
    shown = [held for held in found.held if held.row in place]
    names = list(dict.fromkeys(held.request for held in shown))
    number = {name: index for index, name in enumerate(names)}
    paged = timeline.layout.kind == "paged"
    growth = _growth(timeline, names, start)
    shape = None if paged else _contiguous(timeline, shown, growth, number)
    return Drawing(
        paged=paged,
        begin=_s(found.begin, start),
        end=_s(found.end, start),
        every=every,
        slots=shape.slots if shape else int(timeline.layout.group.block_tokens or 1),
        pad=shape.pad if shape else UNSET,
        long=shape.long if shape else UNSET,
        pool_rows=timeline.facts.num_blocks if paged else len(rows),
        ids=rows,
        row=[place[held.row] for held in shown],
        request=[number[held.request] for held in shown],
        place=[held.place if paged else 0 for held in shown],
        since=[_s(held.begin, start) for held in shown],
        to=[_s(held.end, start) for held in shown],
        requests=growth,
    )


def _contiguous(
    timeline: Timeline,
    shown: list[Held],
    growth: list[Growth],
    number: dict[str, int],
) -> MapShape:
    """How long the rows are, and what is before their prompts.

    A static row is as long as it was made; others are as long as their batch is, which begins
    with its longest prompt and grows until its longest output.
    """
    batches: dict[int, list[Growth]] = {}
    for held in shown:
        batches.setdefault(held.begin, []).append(growth[number[held.request]])
    fixed = timeline.facts.max_cache_len or _constant(timeline)
    pad, first, last = [], [], []
    for held in shown:
        batch = batches[held.begin]
        width = max(request.prompt or 0 for request in batch)
        more = max((request.final or 0) - (request.prompt or 0) for request in batch)
        pad.append(width - (growth[number[held.request]].prompt or 0))
        first.append(fixed or width)
        last.append(fixed or width + more)
    return MapShape(int(max(last, default=1)), pad, [first, last])


def _constant(timeline: Timeline) -> int | None:
    """The length of a row that never changed, where the worker did not live to say it."""
    if timeline.layout.kind:
        return None
    held = timeline.kv.column("held")
    held = held[held > 0]
    if not len(held) or held.min() != held.max():
        return None
    return int(held.max() // max(1, len(set(timeline.blocks.block))))


def _growth(timeline: Timeline, names: list[str], start: int) -> list[Growth]:
    by_id = {request.id: request for request in timeline.requests}
    final = final_lengths(timeline)
    grown = []
    for name in names:
        request = by_id.get(name)
        grown.append(
            Growth(
                id=name,
                start=_s(request.start, start) if request else None,
                first=_s(request.first, start) if request else None,
                last=_s(request.last, start) if request else None,
                prompt=request.prompt_tokens if request else None,
                final=final.get(name),
            )
        )
    return grown


def _s(t: int | None, start: int) -> float | None:
    return None if t is None else round((t - start) / 1e9, 5)
