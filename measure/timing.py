"""Speed: throughput over tokens that were really generated, latencies, and energy per token.

All requests are there when the run phase begins, so time to first token counts from then: it
contains the waiting that a backend's concurrency saves or costs. Time per output token is the
time from the first token to the last, over the tokens after the first. The gaps between single
tokens are derived: no engine says when each token came, but all say when each step began, and a
running request gets one token a step.
"""

from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from measure import result
from measure.columns import Columns, Floats, Ints
from measure.energy import joules
from measure.timeline import Timeline
from traces.records import Request

SECOND = 1e9


def summarize(timeline: Timeline) -> result.Timing | None:
    """Summarise the run phase; None when it did not end."""
    window = timeline.window("run")
    if window is None or not timeline.finished("run") or not timeline.requests:
        return None
    begin, end = window
    wall = (end - begin) / SECOND
    output = sum(request.output_tokens for request in timeline.requests)
    prompt = sum(request.prompt_tokens for request in timeline.requests)
    spent, why = joules(timeline.seen.owned(), begin, end)
    return result.Timing(
        wall=wall,
        output_tokens_per_s=output / wall if wall else 0.0,
        total_tokens_per_s=(output + prompt) / wall if wall else 0.0,
        joules=spent,
        joules_per_token=spent / output if spent is not None and output else None,
        joules_why=why or UNSET,
        **_summary("ttft", first_token(timeline.requests)),
        **_summary("tpot", per_token(timeline.requests)),
    )


def first_token(requests: list[Request]) -> list[float]:
    """Seconds from arrival to the first token, of the requests where both are known."""
    return [(r.first - r.arrive) / SECOND for r in requests if r.first is not None]


def per_token(requests: list[Request]) -> list[float]:
    """Seconds per token after the first, of the requests that have some."""
    return [
        (r.last - r.first) / SECOND / (r.output_tokens - 1)
        for r in requests
        if r.first is not None and r.last is not None and r.output_tokens > 1
    ]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Seconds between two tokens of a request, and how often each occurred.

    `counted` of all `requests` with more than one token are in it.
    """

    gap_s: Floats
    times: Floats
    counted: int
    requests: int

    def percentile(self, percent: float) -> float:
        """The least gap that so many percent of all gaps do not pass."""
        order = np.argsort(self.gap_s)
        upto = np.cumsum(self.times[order])
        place = np.searchsorted(upto, percent / 100 * upto[-1])
        return float(self.gap_s[order][min(place, len(order) - 1)])


def token_gaps(timeline: Timeline) -> Gaps | None:
    """The time from each token to the next, of each request, from the edges of the steps.

    As many edges as tokens after the first lie between a request's first token and its last, and
    one of them is the edge at an end: the first token comes just before its step's end or with
    it. Where there are more or fewer (the request was stopped and resumed, or got several tokens
    at once), nobody knows which edge was a token, and the request is left out. A step counts once
    for each request in it, so that there is no list of every token.
    """
    t = step_begins(timeline.kv)
    long = [request for request in timeline.requests if request.output_tokens > 1]
    change = np.zeros(len(t) + 1)
    ends: list[float] = []
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
            ends.append(request.last - request.first)
            continue
        ends += [t[i] - request.first, request.last - t[j - 2]]
        change[i] += 1
        change[j - 2] -= 1
    if not counted:
        return None
    times = np.cumsum(change)[: len(t) - 1]
    used = times > 0
    gap_s = np.concatenate([np.diff(t)[used], ends]) / SECOND
    return Gaps(gap_s, np.concatenate([times[used], np.ones(len(ends))]), counted, len(long))


def step_begins(kv: Columns) -> Ints:
    """When each step began to execute, and when the engine fell idle."""
    step, idle = kv.column("step"), kv.column("running") == 0
    begins: Ints = kv.times()[idle | (np.diff(step, prepend=-1) != 0)]
    return begins


def rows(timeline: Timeline) -> list[result.RequestRow]:
    """One row for each request, its times in seconds from the begin of the run phase."""
    window = timeline.window("run")
    begin = window[0] if window else timeline.start

    def since(t: int | None) -> float | None:
        return None if t is None else (t - begin) / SECOND

    return [
        result.RequestRow(
            id=request.id,
            prompt_tokens=request.prompt_tokens,
            output_tokens=request.output_tokens,
            arrive=(request.arrive - begin) / SECOND,
            start=since(request.start),
            first=since(request.first),
            last=since(request.last),
            token_ids_sha256=request.token_ids_sha256,
        )
        for request in timeline.requests
    ]


def _summary(name: str, values: list[float]) -> dict[str, float | None]:
    if not values:
        return dict.fromkeys(f"{name}_{part}" for part in ("mean", "p50", "p90", "p99"))
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return {
        f"{name}_mean": float(np.mean(values)),
        f"{name}_p50": float(p50),
        f"{name}_p90": float(p90),
        f"{name}_p99": float(p99),
    }
