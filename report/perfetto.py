"""trace.json.gz: the run as a Chrome trace, which opens in ui.perfetto.dev and chrome://tracing.

A cell is a process there: its phases and engine steps are slices, its requests asynchronous
slices (waiting, prefill, decode), its memory and KV slots counters. Times are microseconds from
the first cell's begin, on the one clock of the run. Steps beyond a number are left out, counters
are reduced as the page's lines are: it is for looking, not for computing.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure.build import Run
from measure.columns import Series
from measure.phases import host_memory
from measure.steps import kv_steps
from measure.timeline import Timeline
from report.reduce import reduce

MOST_STEPS = 200_000
POINTS = 2000
PHASES, STEPS = 1, 2  # thread numbers

Event = dict[str, Any]


def write(folder: Path, run: Run | None = None) -> Path:
    """Write the run folder's trace.json.gz and return its path."""
    run = run or Run(folder)
    cells = [(files.folder.name, run.timeline(files)) for files in run.cells if files.traces]
    begin = min((timeline.start for _, timeline in cells), default=0)
    path = folder / "trace.json.gz"
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=5) as out:
        out.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        between = ""
        for number, (name, timeline) in enumerate(cells, start=1):
            for event in events(timeline, begin):
                out.write(between + json.dumps({"pid": number, **event}, separators=(",", ":")))
                between = ",\n"
            names = {"pid": number, "ph": "M", "name": "process_name", "args": {"name": name}}
            out.write(between + json.dumps(names))
        out.write("\n]}\n")
    return path


def events(timeline: Timeline, begin: int) -> Iterator[Event]:
    """All events of one cell, times from `begin`."""
    yield _thread(PHASES, "phases")
    yield _thread(STEPS, "engine steps")
    for name in timeline.phases:
        first, last = timeline.window(name) or (0, 0)
        yield _slice(PHASES, name, first - begin, last - first)
    yield from _steps(timeline, begin)
    yield from _requests(timeline, begin)
    yield from _counters(timeline, begin)


def _thread(number: int, name: str) -> Event:
    return {"ph": "M", "tid": number, "name": "thread_name", "args": {"name": name}}


def _slice(thread: int, name: str, begin: float, length: float, **args: Any) -> Event:
    return {
        "ph": "X", "tid": thread, "name": name, "ts": begin / 1e3, "dur": length / 1e3,
        "args": args,
    }  # fmt: skip


def _steps(timeline: Timeline, begin: int) -> Iterator[Event]:
    found = kv_steps(timeline)
    if found is None:
        return
    counts = zip(found.t_ns, found.dt_ns, found.stored, found.held, found.running, strict=True)
    for number, (t, dt, stored, held, running) in enumerate(counts):
        if number == MOST_STEPS:
            return
        yield _slice(
            STEPS, "step", float(t - begin), float(dt),
            live=int(stored), held=int(held), running=int(running),
        )  # fmt: skip


def _requests(timeline: Timeline, begin: int) -> Iterator[Event]:
    for request in timeline.requests:
        parts = (
            ("waiting", request.arrive, request.start),
            ("prefill", request.start, request.first),
            ("decode", request.first, request.last),
        )
        tokens = {"prompt_tokens": request.prompt_tokens, "output_tokens": request.output_tokens}
        for name, first, last in [(request.id, request.arrive, request.last), *parts]:
            if first is None or last is None:
                continue
            shared = {"cat": "request", "id": request.id, "tid": PHASES, "name": name}
            yield {**shared, "ph": "b", "ts": (first - begin) / 1e3, "args": tokens}
            yield {**shared, "ph": "e", "ts": (last - begin) / 1e3}


def _counters(timeline: Timeline, begin: int) -> Iterator[Event]:
    kv = timeline.kv
    slots = {"live_tokens": kv.series("stored"), "reserved_slots": kv.series("held")}
    yield from _counter("KV slots", slots, begin)
    yield from _counter("requests", {n: kv.series(n) for n in ("running", "waiting")}, begin)
    yield from _counter("host memory, bytes", {"used": host_memory(timeline)}, begin)
    for uuid, device in timeline.seen.devices.items():
        yield from _counter(f"{uuid} memory, bytes", {"used": device.memory.series("used")}, begin)
        yield from _counter(f"{uuid} power, watts", {"power": device.load.series("power_w")}, begin)


def _counter(name: str, series: dict[str, Series], begin: int) -> Iterator[Event]:
    """A counter track of several values, at the points in time that matter to any of them."""
    for part, values in series.items():
        if len(values):
            kept = reduce(values, int(values.t[0]), int(values.t[-1]), POINTS)
            for t, v in zip(kept.t.tolist(), kept.v.tolist(), strict=True):
                yield {"ph": "C", "name": f"{name}: {part}", "ts": (t - begin) / 1e3,
                       "args": {part: v}}  # fmt: skip
