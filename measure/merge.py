"""Records to a timeline: a pure function, reading each record once and keeping columns of numbers.

The worker's records and the sampler's need no alignment: CLOCK_MONOTONIC is one clock for all
processes of a host. Records of several files may come one file after the other; `merge` sorts
what must be in order of time.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from measure.columns import Columns
from measure.sampled import Sampled
from measure.timeline import ALLOC, KV, BlockLog, Timeline, Window
from traces.errors import Problem
from traces.facts import from_values
from traces.records import (
    Alloc,
    Blocks,
    Facts,
    Header,
    Kv,
    LaidOut,
    Phase,
    Record,
    Request,
)

AFTER = 60_000_000_000  # how long after a cell's last record its memory may still be falling
BEFORE = 500_000_000  # what is shown of the time before it


def merge(records: Iterable[Record], seen: Sampled | None = None) -> Timeline:
    """Build one cell's timeline from its processes' records and the run's samples.

    Raises Problem for an engine's fact of a wrong type, and for counts of several groups.
    """
    timeline = Timeline()
    handlers = _handlers(timeline)
    for record in records:
        handler = handlers.get(type(record))
        if handler:
            handler(record)
            if record.t > timeline.last:
                timeline.last = record.t
    timeline.said.sort(key=lambda said: said[0])
    said = {name: value for _, values in timeline.said for name, value in values.items()}
    timeline.facts = from_values(said, timeline.headers[0].writer if timeline.headers else "facts")
    timeline.kv = _ordered(timeline.kv)
    timeline.requests = _of_the_run(timeline)
    if seen is not None:
        timeline.seen = seen.between(timeline.start - BEFORE, _until(timeline, seen))
    return timeline


def _until(timeline: Timeline, seen: Sampled) -> int:
    """The cell's samples end where the next cell's begin, or a while after its last record."""
    latest = timeline.last + AFTER
    following = [
        mark.t
        for mark in seen.marks
        if timeline.last < mark.t < latest and (mark.phase, mark.edge) == ("import", "begin")
    ]
    return min(following, default=latest)


def _of_the_run(timeline: Timeline) -> list[Request]:
    """The requests of the run phase, in the order recorded: those of the warm-up do not count."""
    run = timeline.phases.get("run")
    return [request for request in timeline.requests if run and request.t >= run.begin]


def _handlers(timeline: Timeline) -> dict[type[Record], Callable[[Any], None]]:
    def phase(record: Phase) -> None:
        if record.edge == "begin":
            if record.point is None or record.name not in timeline.phases:
                timeline.phases[record.name] = Window(record.t)
            if record.point is not None:
                timeline.points[record.point] = Window(record.t)
        elif record.name in timeline.phases:
            timeline.phases[record.name].end = record.t
            if record.point in timeline.points:
                timeline.points[record.point].end = record.t

    def alloc(record: Alloc) -> None:
        if record.where == "step":
            timeline.steps.append(record.t, *(getattr(record, name) for name in ALLOC))
        else:
            timeline.alloc.append(record)

    def laid_out(record: LaidOut) -> None:
        if (len(record.layout.groups), len(record.layout.ranks)) != (1, 1):
            raise Problem("a layout of several groups or ranks: this pagedbench reads one of each")
        timeline.layout = record.layout

    return {
        Header: timeline.headers.append,
        Phase: phase,
        Kv: _kv(timeline.kv),
        Blocks: _blocks(timeline.blocks),
        Request: timeline.requests.append,
        Alloc: alloc,
        LaidOut: laid_out,
        Facts: lambda record: timeline.said.append((record.t, record.values)),
    }


def _kv(columns: Columns) -> Callable[[Kv], None]:
    append = columns.append

    def add(record: Kv) -> None:
        if len(record.groups) != 1:
            raise Problem(f"a kv record of {len(record.groups)} groups: this pagedbench reads one")
        slots = record.groups[0]
        append(
            record.t,
            record.step,
            slots.held,
            slots.stored,
            slots.shared,
            slots.pad,
            slots.ahead,
            record.pool,
            record.running,
            record.waiting,
            record.preempted,
            record.free_blocks,
            record.computed,
            record.produced,
        )

    assert columns.names == KV  # the order above
    return add


def _blocks(log: BlockLog) -> Callable[[Blocks], None]:
    index: dict[str, int] = {}

    def add(record: Blocks) -> None:
        if record.request not in index:
            index[record.request] = len(index)
            log.requests.append(record.request)
        if record.stored is not None:
            log.ends.append((record.t, record.request, record.stored))
        for blocks, gained in ((record.lost, 0), (record.gained, 1)):  # a block may change hands
            for block in blocks:
                log.t.append(record.t)
                log.request.append(index[record.request])
                log.block.append(block)
                log.gained.append(gained)

    return add


def _ordered(columns: Columns) -> Columns:
    """The same rows in order of time: two files read one after the other may interleave."""
    times = columns.times()
    if len(times) < 2 or bool((times[1:] >= times[:-1]).all()):
        return columns
    order = np.argsort(times, kind="stable")
    sorted_ = Columns(*columns.names)
    sorted_.t.frombytes(times[order].tobytes())
    for name, target in zip(columns.names, sorted_.arrays, strict=True):
        target.frombytes(columns.column(name)[order].tobytes())
    return sorted_
