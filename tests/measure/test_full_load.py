"""Run rate, full-load rate and the times between tokens, counted by hand."""

from typing import Any

import msgspec
import numpy as np
import pytest

from measure.gaps import token_gaps
from measure.merge import merge
from measure.timing import summarize
from measure.tokens import full_load, token_steps
from tests.measure.folder import at, phase, request, step
from traces.records import Record, Request


def never(name: str, arrive: float) -> Request:
    """A request that the deadline ended before it was begun."""
    made = request(name, 10, 0, 0, 0, 0, arrive)
    return msgspec.structs.replace(
        made, t=at(90_000), start=None, first=None, last=None, ended="deadline"
    )


def cut(made: Request) -> Request:
    """A request that the deadline ended."""
    return msgspec.structs.replace(made, ended="deadline")


def timeline(steps: list[Record], requests: list[Any], end: float = 20_000) -> Any:
    begun, ended = phase("run", 0, end)
    return merge([begun, *steps, *requests, ended])


def ramp(said: bool = True) -> list[Record]:
    """100 steps of 100 ms: 10 with 2 in flight, 80 with 10, 10 with 5; then idle.

    Each request in flight gets a token a step: 20 + 800 + 50 tokens in 10 s. Full load is from 8
    in flight on: 1 s to 9 s, 80 steps, 800 tokens: 100 tok/s. The run: 870 in 10 s, 87 tok/s.
    """
    flying = [2] * 10 + [10] * 80 + [5] * 10
    records: list[Record] = [
        step(100 * i, n, n, running=n, step=i, produced=n if said else None)
        for i, n in enumerate(flying)
    ]
    return [*records, step(10_000, 0, 0, running=0, step=99, produced=0 if said else None)]


def full_requests() -> list[Request]:
    """Two from the begin on, 8 from 1 s on; 5 end at 9 s, 5 at 10 s. 870 tokens.

    A first token comes at the end of its first step.
    """
    early = [request(f"e{i}", 1, 100, 0, 100, 10_000, 0) for i in range(2)]
    late = [request(f"l{i}", 1, 90, 1000, 1100, 10_000, 0) for i in range(3)]
    return [*early, *late, *(request(f"s{i}", 1, 80, 1000, 1100, 9000, 0) for i in range(5))]


def test_the_full_load_rate_is_of_the_time_between_filling_up_and_running_dry():
    found: Any = summarize(timeline(ramp(), full_requests()))
    assert found.output_tokens_per_s == pytest.approx(87)
    assert found.full_load_tokens_per_s == pytest.approx(100)
    assert found.tokens_by == "counted"
    assert found.why == {}
    assert found.wall == 20


def test_what_a_trace_does_not_say_is_derived_from_first_and_last():
    """The same requests: of 99 tokens after 0.1 s in 9.9 s, 10 a second, and so on: 800 again.

    The early ones had their first at 0.1 s: 80 each from 1 s to 9 s. The others have one each at
    1.1 s and 10 a second for 7.9 s, 79: 2 x 80 + 8 x 80 = 800.
    """
    found: Any = summarize(timeline(ramp(said=False), full_requests()))
    assert found.full_load_tokens_per_s == pytest.approx(100)
    assert found.tokens_by == "derived"


def test_a_request_whose_times_are_not_known_leaves_no_rate_to_derive():
    requests = full_requests()
    requests[0].start = requests[0].first = None
    found: Any = summarize(timeline(ramp(said=False), requests))
    assert found.full_load_tokens_per_s is None
    assert found.why["full_load_tokens_per_s"] == "when the tokens came is not known"


@pytest.mark.parametrize(
    ("every", "steps", "why"),
    [(200, 49, "full load lasted 9.8 s and 49 steps, needs 5 s and 50"),
     (99, 50, "full load lasted 4.95 s and 50 steps, needs 5 s and 50")],
)  # fmt: skip
def test_a_short_full_load_has_no_rate_and_says_so(every, steps, why):
    records: list[Record] = [step(every * i, 1, 1, step=i, produced=1) for i in range(steps)]
    records.append(step(every * steps, 0, 0, running=0, step=steps - 1, produced=0))
    found: Any = summarize(timeline(records, [request("a", 1, steps, 0, every, every * steps, 0)]))
    assert found.full_load_tokens_per_s is None
    assert found.why == {"full_load_tokens_per_s": why}
    assert found.output_tokens_per_s == pytest.approx(1000 / every)
    assert found.full_load_itl_p50 is None


def test_of_several_records_of_a_step_the_first_says_what_came():
    """A step scheduled while another executes: its records are one step from 0 to 200 ms."""
    records: list[Record] = [
        step(0, 1, 1, step=1, running=2, produced=2),
        step(90, 1, 1, step=1, running=3),
        step(200, 0, 0, step=1, running=0),
    ]
    found = token_steps(timeline(records, []))
    assert (found.begin.tolist(), found.end.tolist()) == ([at(0)], [at(200)])
    assert (found.running.tolist(), found.produced.tolist()) == ([2], [2])


def test_without_steps_there_is_no_full_load():
    assert full_load(token_steps(timeline([], [])), []).why == "no step was recorded"


def test_a_deadline_ends_the_time_that_the_run_rate_is_over():
    """The deadline is at 8.05 s, in a step that ends at 8.1 s and whose tokens do not count.

    80 steps had ended: 20 + 700 tokens in 8.05 s. Full load: 1 s to 8 s, 700 tokens, 100 tok/s.
    One of 10 waited: it was never begun. None had all its tokens.
    """
    steps = ramp()[:82]
    early = [cut(request(f"e{i}", 1, 80, 0, 100, 8000, 0)) for i in range(2)]
    late = [cut(request(f"l{i}", 1, 70, 1000, 1100, 8000, 0)) for i in range(8)]
    found: Any = summarize(timeline(steps, [*early, *late, never("w", 0)], 8200), 8.05)
    assert found.output_tokens_per_s == pytest.approx(720 / 8.05)
    assert found.total_tokens_per_s == pytest.approx(730 / 8.05), "a prompt a request begun"
    assert found.full_load_tokens_per_s == pytest.approx(100)
    assert (found.tpot_mean, found.tpot_p99) == (None, None)
    reason = "no request had all its tokens before the deadline"
    assert found.why == {"tpot": reason, "request": reason}
    assert found.ttft_mean is not None


def test_a_deadline_before_any_token_leaves_no_rate():
    found: Any = summarize(timeline(ramp()[:1], [never("a", 0)], 2000), 1.0)
    assert (found.output_tokens_per_s, found.total_tokens_per_s) == (None, None)
    assert found.full_load_tokens_per_s is None
    assert set(found.why.values()) == {
        "no token came before the deadline", "no request had all its tokens before the deadline",
    }  # fmt: skip


def test_time_per_output_token_is_of_requests_that_had_all_theirs():
    """One had 3 tokens 100 ms apart; the other's 2, a second apart, are not all of its own."""
    whole, part = request("a", 1, 3, 0, 100, 300, 0), cut(request("b", 1, 2, 0, 100, 1100, 0))
    found: Any = summarize(timeline(ramp()[:12], [whole, part], 1200), 1.15)
    assert found.tpot_mean == pytest.approx(0.1)


def listed(found: Any) -> list[float]:
    """Every gap in milliseconds, in order."""
    return sorted(np.repeat(found.gap_s * 1e3, found.times.astype(int)).round(3).tolist())


def counted(ends: list[float], produced: list[int], requests: list[Any]) -> Any:
    """The gaps in a run whose steps end at these times and give so many tokens."""
    begins = [0, *ends[:-1]]
    records: list[Record] = [
        step(ms, 1, 1, step=i, produced=n)
        for i, (ms, n) in enumerate(zip(begins, produced, strict=True))
    ]
    idle = step(ends[-1], 0, 0, running=0, step=len(ends) - 1, produced=0)
    return token_gaps(timeline([*records, idle], requests))


def test_gaps_are_counted_from_steps_and_what_they_gave():
    """a: tokens at 100, 110, 130, 160; b: at 110, 130. Gaps 10, 20, 30 and 20.

    Stamps a little beside the edges are the same tokens.
    """
    both = [request("a", 5, 4, 0, 99, 161, 0), request("b", 5, 2, 0, 111, 130, 0)]
    found = counted([100, 110, 130, 160], [1, 2, 2, 1], both)
    assert listed(found) == [10, 20, 20, 30]
    assert (found.counted, found.requests, found.how) == (2, 2, "counted")
    assert found.percentile(50) == 0.02


def test_a_step_without_a_token_is_part_of_the_gap():
    """A chunk of another prompt, from 110 to 140, gives nobody a token."""
    found = counted([100, 110, 140, 150], [1, 1, 0, 1], [request("a", 5, 3, 0, 100, 150, 0)])
    assert listed(found) == [10, 40]


def test_who_stands_still_waits_from_its_last_token_to_its_next():
    """a and b from 100 on; b gives way after 110 and goes on at 150, when a has ended.

    a: 100, 110, 120, 130: gaps of 10 three times. b: 100, 110, 150, 160: 10, 40, 10.
    """
    both = [request("a", 5, 4, 0, 100, 130, 0), request("b", 5, 4, 0, 100, 160, 0)]
    found = counted([100, 110, 120, 130, 150, 160], [2, 2, 1, 1, 1, 1], both)
    assert listed(found) == [10, 10, 10, 10, 10, 40]
    assert sum(listed(found)) == (130 - 100) + (160 - 100)


def test_gaps_of_a_time_lie_in_it():
    found = counted([100, 110, 130, 160], [1, 1, 1, 1], [request("a", 5, 4, 0, 100, 160, 0)])
    inner = found.between(at(110), at(160))
    assert listed(inner) == [20, 30]
    assert found.between(at(111), at(129)) is None


def test_times_between_tokens_at_full_load_are_of_that_time():
    """Steps take 300 ms before and after, 100 ms in the 60 of full load: 6 s.

    5 + 60 + 5 steps of 1, 4, 1 in flight. Gaps of a: 4 of 300 ms, 60 of 100 ms, 5 of 300. Of the
    other three: 59 of 100 ms each. At most 9 of 246 are slow: the 99th percentile sees them, and
    under full load there are none.
    """
    edges = [*range(0, 1500, 300), *range(1500, 7500, 100), *range(7500, 9000, 300)]
    flying = [1] * 5 + [4] * 60 + [1] * 5
    records: list[Record] = [
        step(ms, n, n, running=n, step=i, produced=n)
        for i, (ms, n) in enumerate(zip(edges, flying, strict=True))
    ]
    records.append(step(9000, 0, 0, running=0, step=69, produced=0))
    one = request("a", 1, 70, 0, 300, 9000, 0)
    others = [request(f"o{i}", 1, 60, 1500, 1600, 7500, 0) for i in range(3)]
    found: Any = summarize(timeline(records, [one, *others]))
    assert (found.itl_p50, found.itl_p99) == (pytest.approx(0.1), pytest.approx(0.3))
    assert found.full_load_itl_p50 == pytest.approx(0.1)
    assert found.full_load_itl_p99 == pytest.approx(0.1)
    assert found.full_load_tokens_per_s == pytest.approx(40)
