"""Why slots were held without a token stored in them.

Of the slots held, every one that stores nothing is one of these: a *pad* (or a finished request's
row), *internal* (its request never fills it), *scheduled ahead* (the step that follows the one
under way will fill it), or *reservation* (its request will fill it later). Pads and tokens ahead
are counted by the worker. Reservation against internal needs to know how long each request became
in the end, so it is derived here, from who held what and the final lengths. *External* waste is
the allocator's: bytes reserved, free, and in pieces, above what the weights had left of them before
the first request; it comes on top of the slots held. Freed activations are in it: an upper bound.
Workers record it at each step at which it changed, on a GPU only: the C library's heap cannot say.

Per request, with F its final length and H what it holds, H - min(H, F) is internal.
"""

import numpy as np

from measure.columns import EMPTY, Floats, Series
from measure.edges import at_edge
from measure.result import Share
from measure.steps import KvSteps
from measure.timeline import Timeline, final_lengths

NOT_KNOWN = Share(value=None, how="n/a")
CAUSES = ("reservation", "scheduled_ahead", "internal", "padding", "external")


def waste_by_cause(timeline: Timeline, steps: KvSteps) -> dict[str, Share]:
    """Shares of the slots held, weighted by time, by cause."""
    held = steps.integral(steps.held)
    if not held:
        return dict.fromkeys(CAUSES, NOT_KNOWN)
    empty = np.maximum(steps.held - steps.pads - steps.stored, 0.0)
    never = never_filled(timeline, steps)
    shares = {
        "padding": Share(value=steps.integral(steps.pads) / held, how="measured"),
        "external": _external(timeline, steps, held),
        **dict.fromkeys(("reservation", "scheduled_ahead", "internal"), NOT_KNOWN),
    }
    if never is not None:
        internal = np.minimum(never, empty)
        ahead = np.minimum(steps.ahead, empty - internal)
        parts = {
            "internal": internal, "scheduled_ahead": ahead,
            "reservation": empty - internal - ahead,
        }  # fmt: skip
        for name, part in parts.items():
            shares[name] = Share(value=steps.integral(part) / held, how="derived")
    return shares


def never_filled(timeline: Timeline, steps: KvSteps) -> Floats | None:
    """At each step, the held slots that their requests never fill; None where not knowable."""
    layout = timeline.layout.kind
    if layout in ("dynamic", "padded"):  # rows are as long as they are now: nothing ahead
        return np.zeros(len(steps))
    final = final_lengths(timeline)
    if not final:
        return None
    if layout == "paged":
        block = timeline.layout.group.block_tokens
        if not block or not len(timeline.blocks):
            return None
        return _beyond(timeline, final, block).filled(steps.t_ns)
    return np.maximum(steps.held - steps.pads - _to_come(timeline, final, steps), 0.0)


def _to_come(timeline: Timeline, final: dict[str, int], steps: KvSteps) -> Floats:
    """Contiguous rows: the final lengths of the requests that are in a row, at each step."""
    change: list[tuple[int, int]] = []
    for request in timeline.requests:
        if request.start is not None and request.last is not None:
            change += [(request.start, final[request.id]), (request.last, -final[request.id])]
    return _accumulated(change).filled(steps.t_ns)


def _beyond(timeline: Timeline, final: dict[str, int], block: int) -> Series:
    """Blocks: the slots past each holder's final length, as it gains and loses blocks."""
    log = timeline.blocks
    blocks = [0] * len(log.requests)
    ends = [final.get(name) for name in log.requests]
    change: list[tuple[int, int]] = []
    for t, request, gained in log.changes():
        end = ends[request]
        if end is None:  # it never finished: its final length is not known
            continue
        before = max(blocks[request] * block - end, 0)
        blocks[request] += 1 if gained else -1
        if after := max(blocks[request] * block - end, 0) - before:
            change.append((t, after))
    return _accumulated(change)


def _accumulated(change: list[tuple[int, int]]) -> Series:
    """A running total over time, starting at 0."""
    if not change:
        return Series(np.array([0], np.int64), np.zeros(1))
    change.sort()
    t = np.array([0, *(at for at, _ in change)], np.int64)
    return Series(t, np.cumsum([0.0, *(float(by) for _, by in change)]))


def _external(timeline: Timeline, steps: KvSteps, held: float) -> Share:
    if timeline.layout.kind == "paged":
        return Share(value=0.0, how="derived")  # equal blocks: any free one fits
    bytes_per_slot = timeline.layout.group.bytes_per_token
    pieces = timeline.steps.series("inactive_split").known() if len(timeline.steps) else EMPTY
    if not len(pieces) or not bytes_per_slot:
        return NOT_KNOWN
    rest = at_edge(timeline, "warmup.end")
    before = (rest.inactive_split or 0) if rest else 0
    grown = np.maximum(np.nan_to_num(pieces.filled(steps.t_ns)) - before, 0.0)
    at_steps = grown * (steps.held > 0)
    return Share(value=steps.integral(at_steps) / (held * bytes_per_slot), how="measured")
