"""Tokens stored by traces that counted them when they were scheduled, restated as of today.

An engine that schedules ahead holds a record over the time in which the step *before* it executes.
Until traces said `stored_when`, such a record counted the tokens of its own step as stored. Its
neighbour before it has the right ones: what that counted as scheduled is executing now, less the
requests that have ended between the two, whose lengths are known. Where blocks are shared or a
request gave way, its own tokens are not known; such a trace stays as it was counted, and says so.
"""

import numpy as np

from measure.columns import Columns, Floats
from measure.result import Counted
from measure.timeline import Timeline, final_lengths


def counting(timeline: Timeline) -> Counted:
    """Say when a token counts as stored in this cell's numbers."""
    settings = timeline.facts.settings or {}
    if timeline.facts.stored_when or not settings.get("async_scheduling"):
        return "executing"
    kv = timeline.kv
    known = not (kv.column("shared").any() or kv.column("preempted").any())
    return "restated" if known else "scheduled"


def stored_and_ahead(timeline: Timeline, kv: Columns) -> tuple[Floats, Floats]:
    """Return tokens stored, and those scheduled ahead, at each of the records `kv` of one run."""
    counted = kv.column("stored")
    if counting(timeline) != "restated" or not len(counted):
        return counted, kv.column("ahead")
    before = np.concatenate([counted[:1], counted[:-1]])  # the first step has none before it
    stored = np.where(kv.column("running") > 0, before - _ended(timeline, kv), 0.0)
    return stored, counted - stored


def _ended(timeline: Timeline, kv: Columns) -> Floats:
    """Tokens that requests had stored which gave their blocks back since the record before."""
    log, t, final = timeline.blocks, kv.times(), final_lengths(timeline)
    ended = np.zeros(len(t))
    for name, at in {log.requests[r]: at for at, r, gained in log.changes() if not gained}.items():
        place = int(np.searchsorted(t, at))
        if name in final and place < len(t) and at >= t[0]:
            ended[place] += final[name]
    return ended
