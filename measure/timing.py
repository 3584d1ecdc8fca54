"""Speed: rates over tokens that were really generated, latencies, and energy per token.

The *run rate* is over the time from the begin of the run to the last token or, where a deadline
ended it, to the deadline. The *full-load rate* is of the time between filling up and running dry.
Time to first token counts from when a request was due: it contains the waiting that a backend's
concurrency saves or costs. Time per output token is the time from the first token to the last, over
the tokens after the first, of requests that had all of theirs.
"""

from typing import Any

import numpy as np
from msgspec import UNSET

from measure import result
from measure.energy import joules
from measure.gaps import token_gaps
from measure.timeline import Timeline
from measure.tokens import SECOND, full_load, token_steps
from measure.work import ended
from traces.records import Request

NO_TOKEN = "no token came before the deadline"
NONE_ENDED = "no request had all its tokens before the deadline"


def summarize(timeline: Timeline, deadline_s: float | None = None) -> result.Timing | None:
    """Summarise the run phase; None when it did not end. It was given `deadline_s` seconds."""
    window = timeline.window("run")
    if window is None or not timeline.finished("run") or not timeline.requests:
        return None
    begin, end = window
    output = sum(request.output_tokens for request in timeline.requests)
    prompt = sum(request.prompt_tokens for request in timeline.requests if request.output_tokens)
    over = _over(timeline, begin, end, deadline_s)
    spent, why = joules(timeline.seen.owned(), begin, end)
    return result.Timing(
        wall=(end - begin) / SECOND,
        output_tokens_per_s=_rate(output, over - begin) if output else None,
        total_tokens_per_s=_rate(output + prompt, over - begin) if output else None,
        joules=spent,
        joules_per_token=spent / output if spent is not None and output else None,
        joules_why=why or UNSET,
        **_summary("ttft", first_token(timeline.requests)),
        **_summary("tpot", per_token(timeline.requests)),
        **_of_steps(timeline, over, output),
    )


def _over(timeline: Timeline, begin: int, end: int, deadline_s: float | None) -> int:
    """When the time that the run rate is over ends: at the last token, or at the deadline."""
    lasts = [request.last for request in timeline.requests if request.output_tokens]
    last = max((t for t in lasts if t is not None), default=end) if None not in lasts else end
    if not ended(timeline.requests) or deadline_s is None:
        return last
    return max(last, begin + round(deadline_s * SECOND))


def _rate(tokens: int, ns: int) -> float:
    return tokens / ns * SECOND if ns > 0 else 0.0


def _of_steps(timeline: Timeline, until: int, output: int) -> dict[str, Any]:
    """What steps say: the full-load rate, the times between tokens; what is null, and why."""
    cut = until if ended(timeline.requests) else None
    steps = token_steps(timeline, cut)
    full, gaps = full_load(steps, timeline.requests), token_gaps(timeline, cut)
    inner = gaps.between(full.begin, full.end) if gaps and full.rate is not None else None
    why = {"full_load_tokens_per_s": full.why} if full.why else {}
    if not output:
        why = dict.fromkeys(("output_tokens_per_s", "full_load_tokens_per_s"), NO_TOKEN)
    if cut and not any(request.ended is None for request in timeline.requests):
        why |= dict.fromkeys(("tpot", "request"), NONE_ENDED)
    found: dict[str, Any] = {"why": why, "full_load_tokens_per_s": full.rate if output else None}
    for name, part in (("itl", gaps), ("full_load_itl", inner)):
        for percent in (50, 99):
            found[f"{name}_p{percent}"] = part.percentile(percent) if part else None
    if len(steps):
        found["tokens_by"] = gaps.how if gaps else "counted" if steps.known else "derived"
    return found


def first_token(requests: list[Request]) -> list[float]:
    """Seconds from arrival to the first token, of the requests where both are known."""
    return [(r.first - r.arrive) / SECOND for r in requests if r.first is not None]


def per_token(requests: list[Request]) -> list[float]:
    """Seconds per token after the first, of the requests that have some and had all of them."""
    return [
        (r.last - r.first) / SECOND / (r.output_tokens - 1)
        for r in requests
        if r.first is not None and r.last is not None and r.output_tokens > 1 and not r.ended
    ]


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
            ended=request.ended or UNSET,
        )
        for request in timeline.requests
    ]


def _summary(name: str, values: list[float]) -> dict[str, Any]:
    if not values:
        return dict.fromkeys(f"{name}_{part}" for part in ("mean", "p50", "p90", "p99"))
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    return {
        f"{name}_mean": float(np.mean(values)),
        f"{name}_p50": float(p50),
        f"{name}_p90": float(p90),
        f"{name}_p99": float(p99),
    }
