"""The time from each token of a request to its next (ITL), as a distribution over all tokens.

*Counted*: steps say how many tokens they produced. Those that are no request's first come one step
after the token before them, as often as there were requests to go on with; fewer means that some
stood still (preempted, or no room in the step), more that some of these went on. Who stood still
last goes on first. *Derived*, for traces whose steps do not say so: a running request gets one
token a step, so the edges between its first and its last token are its tokens.
"""

from dataclasses import dataclass

import numpy as np

from measure.columns import Columns, Floats, Ints
from measure.result import TokensBy
from measure.timeline import Timeline
from measure.tokens import SECOND, TokenSteps, step_places, token_steps
from traces.records import Request


@dataclass(frozen=True, slots=True)
class Gaps:
    """Seconds between two tokens of a request, how often each occurred, and when it ended (ns).

    `counted` of all `requests` with more than one token are in it.
    """

    gap_s: Floats
    times: Floats
    ends: Ints
    counted: int
    requests: int
    how: TokensBy

    def percentile(self, percent: float) -> float:
        """The least gap that so many percent of all gaps do not pass."""
        order = np.argsort(self.gap_s)
        upto = np.cumsum(self.times[order])
        place = np.searchsorted(upto, percent / 100 * upto[-1])
        return float(self.gap_s[order][min(place, len(order) - 1)])

    def between(self, begin: int, end: int) -> "Gaps | None":
        """The gaps that lie in this time; None where there is none."""
        begins = self.ends - np.rint(self.gap_s * SECOND).astype(np.int64)
        kept = (begins >= begin) & (self.ends <= end)
        if not kept.any():
            return None
        parts = self.gap_s[kept], self.times[kept], self.ends[kept]
        return Gaps(*parts, self.counted, self.requests, self.how)


def token_gaps(timeline: Timeline, until: int | None = None) -> Gaps | None:
    """All gaps of the run phase, in steps that had ended at `until` ns; None without any."""
    steps = token_steps(timeline, until)
    having = [request for request in timeline.requests if request.output_tokens]
    long = [request for request in having if request.output_tokens > 1]
    if steps.known and all(r.first is not None and r.last is not None for r in having):
        return _counted(steps.where(steps.produced > 0), having, len(long))
    return _derived(timeline.kv, long)


def _counted(steps: TokenSteps, requests: list[Request], long: int) -> Gaps | None:
    ends = steps.end
    if len(ends) < 2:
        return None
    firsts = _at(ends, [r.first for r in requests if r.first is not None])
    lasts = _at(ends, [r.last for r in requests if r.last is not None])
    going_on = np.append(0, np.maximum(steps.produced - lasts, 0)[:-1])
    came = np.maximum(steps.produced - firsts, 0)
    gap_s, times = np.diff(ends, prepend=ends[0]) / SECOND, np.minimum(going_on, came)
    late, late_ends = _stood_still(ends, going_on - came)
    used = times > 0
    if not used.any() and not late:
        return None
    return Gaps(
        np.append(gap_s[used], late), np.append(times[used], np.ones(len(late))),
        np.append(ends[used], np.array(late_ends, np.int64)), long, long, "counted",
    )  # fmt: skip


def _at(ends: Ints, stamps: list[int]) -> Floats:
    """How many of the stamps belong to each step: to the edge next to them."""
    times = np.array(stamps, np.int64)
    after = np.clip(np.searchsorted(ends, times), 1, len(ends) - 1)
    nearest = after - (times - ends[after - 1] < ends[after] - times)
    return np.bincount(nearest, minlength=len(ends)).astype(float)


def _stood_still(ends: Ints, missing: Floats) -> tuple[list[float], list[int]]:
    """Seconds from the last token before a pause to the next one, and when that came.

    `missing` at each step: those that got no token though they had one in the step before; below
    zero, those that did though they had none.
    """
    still: list[int] = []
    late: list[float] = []
    when: list[int] = []
    for place in np.flatnonzero(missing):
        count = int(missing[place])
        if count > 0:
            still += [int(ends[place - 1])] * count
        for _ in range(min(-count, len(still))):
            late.append((int(ends[place]) - still.pop()) / SECOND)
            when.append(int(ends[place]))
    return late, when


def _derived(kv: Columns, long: list[Request]) -> Gaps | None:
    """As many edges as tokens after the first lie between a request's first token and its last.

    One of them is the edge at an end: the first token comes just before its step's end or with
    it. Where there are more or fewer (the request was stopped and resumed, or got several tokens
    at once), nobody knows which edge was a token, and the request is left out. A step counts once
    for each request in it, so that there is no list of every token.
    """
    t = step_begins(kv)
    change = np.zeros(len(t) + 1)
    alone: list[tuple[int, int]] = []
    counted = 0
    for request in long:
        if request.first is None or request.last is None:
            continue
        i, j = np.searchsorted(t, (request.first, request.last), side="right")
        if j - i != request.output_tokens - 1:
            continue
        counted += 1
        if t[i] - request.first < request.last - t[j - 1]:
            i, j = i + 1, j + 1
        if j - i == 1:
            alone.append((request.first, request.last))
            continue
        alone += [(request.first, int(t[i])), (int(t[j - 2]), request.last)]
        change[i] += 1
        change[j - 2] -= 1
    if not counted:
        return None
    times = np.cumsum(change)[: len(t) - 1]
    used = times > 0
    begins, ends = np.array(alone, np.int64).T
    return Gaps(
        np.append(np.diff(t)[used], ends - begins) / SECOND,
        np.append(times[used], np.ones(len(alone))), np.append(t[1:][used], ends),
        counted, len(long), "derived",
    )  # fmt: skip


def step_begins(kv: Columns) -> Ints:
    """When each step began to execute, and when the engine fell idle."""
    begins: Ints = kv.times()[step_places(kv)]
    return begins
