"""Laws that true numbers keep, whatever the engine: checked once, when a cell's numbers are made.

A check sets two measurements beside each other and may fail by a little. These cannot: where one
is broken, something was counted wrongly, and no number of the cell is to be believed.
"""

from collections.abc import Iterator, Mapping
from itertools import chain, pairwise

import numpy as np

from measure.columns import Floats
from measure.result import Cell, Kv, Point
from measure.steps import KvSteps, kv_steps
from measure.stored import decoded, last_steps
from measure.timeline import Timeline

PHASES = ("import", "load", "warmup", "run", "teardown")
PARTS = ("reservation", "scheduled_ahead", "internal", "padding")
ROUNDING = 1e-6


def judge(
    cell: Cell, windows: list[Timeline], asked: Mapping[str, int], formula: int | None
) -> None:
    """Make a cell that ran to its end and breaks a law invalid, for that reason.

    `windows` are its points', or its own; `asked` has the output tokens of each request. `formula`
    is what a token's bytes are by the model's shape.
    """
    runs: list[Cell | Point] = [*cell.points] or [cell]
    laws = (
        broken(window, run, cell.requests_asked, asked)
        for window, run in zip(windows, runs, strict=True)
    )
    if cell.status == "ok" and (why := next(filter(None, chain(_shape(cell, formula), laws)), "")):
        cell.status, cell.reason = "invalid", why


def broken(timeline: Timeline, run: Cell | Point, requests: int, asked: Mapping[str, int]) -> str:
    """Name the first law that a run's numbers break, with both values; empty where none is.

    So many `requests` were asked for, `asked` has the output tokens of each.
    """
    steps = kv_steps(timeline)
    laws = chain(
        _slots(steps) if steps else (),
        _numbers(run.kv) if run.kv else (),
        _times(timeline),
        () if run.truncated else _tokens(timeline, requests, asked),
        _stored(timeline),
    )
    return next(iter(laws), "")


def _slots(steps: KvSteps) -> Iterator[str]:
    """At every step 0 <= stored, stored and pads <= held <= pool."""
    yield from _never("0 <= stored", "stored", steps, steps.stored, -steps.stored)
    filled = steps.stored + steps.pads
    yield from _never("stored <= held", "stored", steps, filled, filled - steps.held, steps.held)
    yield from _never(
        "held <= pool", "held", steps, steps.held, steps.held - steps.pool, steps.pool
    )


def _never(
    law: str, name: str, steps: KvSteps, values: Floats, excess: Floats, bound: Floats | None = None
) -> Iterator[str]:
    """Yield the law where a value exceeds its bound, at the step where it does so most."""
    if excess.max() > 0:
        at = int(np.argmax(excess))
        limit = 0 if bound is None else bound[at]
        yield f"{law}: {name} {values[at]:.0f}, bound {limit:.0f}, at step {steps.step[at]:.0f}"


def _numbers(kv: Kv) -> Iterator[str]:
    """The shares are a whole, and no mean is above its peak."""
    shares = [kv.efficiency, *(share.value for n, share in kv.waste.items() if n in PARTS)]
    known = [share for share in shares if share is not None]
    if len(known) == len(shares) and abs(sum(known) - 1) > ROUNDING:
        yield f"shares sum to 1: efficiency and waste sum to {sum(known):.6g}"
    for name, mean, peak in (
        ("stored", kv.mean_live, kv.peak_live),
        ("held", kv.mean_reserved, kv.peak_reserved),
        ("running", kv.mean_running, kv.peak_running),
    ):
        if mean is not None and peak is not None and mean > peak * (1 + ROUNDING):
            yield f"peak >= mean: {name} {peak} at most, {mean:.6g} on average"


def _shape(cell: Cell, formula: int | None) -> Iterator[str]:
    """A token's bytes by the cache's tensors are those by the model's shape, in the model's dtype.

    The engine's own reading of the shape goes before ours, if it says one.
    """
    formula = cell.engine.get("formula_bytes_per_slot") or formula
    dtype = (cell.engine.get("settings") or {}).get("kv_cache_dtype", "auto")
    size = cell.layout.group.bytes_per_token if cell.layout else None
    if dtype == "auto" and None not in (size, formula) and size != formula:
        yield f"bytes per token as the shape gives: {size} by the tensors, {formula} by the shape"


def _stored(timeline: Timeline) -> Iterator[str]:
    """What is stored is what the lengths give, at each request's end and over the decode steps."""
    for last in last_steps(timeline):
        if last.tokens != last.prompt + last.output - 1:
            lengths = f"{last.prompt} in and {last.output} out"
            yield f"stored at the last step: request {last.name}: {last.tokens}, of {lengths}"
    found = decoded(timeline)
    if found and found.counted != found.by_lengths:
        yield (
            f"stored in decode steps: {found.counted} by the counts, {found.by_lengths} by the "
            f"lengths, over {found.records} records"
        )


def _times(timeline: Timeline) -> Iterator[str]:
    """Phases follow each other, and so do the moments of a request, within the run."""
    found = [(name, timeline.window(name)) for name in PHASES]
    edges = [
        (f"{name} {edge}", t)
        for name, window in found
        if window
        for edge, t in zip(("begin", "end"), window, strict=True)
    ]
    yield from _in_order("", edges)
    end = timeline.window("run")
    for r in timeline.requests:
        moments = [("arrived", r.arrive), ("started", r.start), ("first token", r.first),
                   ("last token", r.last), ("run end", end and end[1])]  # fmt: skip
        yield from _in_order(f"request {r.id}: ", [(n, t) for n, t in moments if t is not None])


def _in_order(of: str, moments: list[tuple[str, int]]) -> Iterator[str]:
    for (name, t), (later, after) in pairwise(moments):
        if t > after:
            yield f"times in order: {of}{name} at {t} ns, {later} at {after} ns"


def _tokens(timeline: Timeline, requests: int, asked: Mapping[str, int]) -> Iterator[str]:
    """What came is what was asked for, or less where a deadline ended it, and of every request.

    A run of fewer requests says so, and is not asked.
    """
    ran = len(timeline.requests)
    if ran != requests:
        yield f"tokens out as asked: {ran} requests ended, {requests} were asked for"
    for r in timeline.requests:
        wanted = asked.get(r.id, r.output_tokens)
        if r.output_tokens > wanted or (r.output_tokens < wanted and not r.ended):
            said = f"{r.output_tokens} tokens, {wanted} were asked for"
            yield f"tokens out as asked: request {r.id}: {said}"
