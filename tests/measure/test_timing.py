"""Speed and energy by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET

from measure.energy import NOT_READ, TOO_SHORT
from measure.gaps import token_gaps
from measure.merge import merge
from measure.sampled import sampled
from measure.timing import summarize
from tests.measure.folder import GPU, at, phase, request, step
from traces.records import Energy, Record


def energy(ms: float, joules: float | None, uuid: str = GPU) -> Energy:
    """A counter reading."""
    total = None if joules is None else int(joules * 1000)
    return Energy(t=at(ms), uuid=uuid, total_mj=total, where="edge")


def run(requests: list[Record], readings: list[Record] | None = None) -> Any:
    """Two seconds of a run phase."""
    records = [*phase("run", 1000, 3000)]
    return summarize(merge([records[0], *requests, records[1]], sampled(readings or [])))


TWO = [request("a", 10, 5, 1000, 1100, 1500, 1000), request("b", 20, 1, 1500, 2000, 2000, 1000)]


def test_latencies_count_from_arrival():
    found = run(list(TWO))
    assert found.wall == 2
    assert found.output_tokens_per_s == 6  # the last of 6 tokens came after a second
    assert found.total_tokens_per_s == 36
    assert found.ttft_mean == pytest.approx((0.1 + 1.0) / 2)
    assert found.tpot_mean == pytest.approx(0.4 / 4)  # one token has no time per further token


def test_energy_is_brought_from_the_readings_to_the_edges():
    """800 J from 1.2 s to 3.2 s are 400 W: 800 J in the run's 2 s. Of 2.5 s, 2 / 2.5 of 1000 J."""
    exact: list[Record] = [energy(1200, 100), energy(2000, 777), energy(3200, 900)]
    assert run(list(TWO), exact).joules == 800
    late: list[Record] = [energy(990, 0), energy(3490, 1000)]
    found = run(list(TWO), late)
    assert found.joules == 800
    assert found.joules_per_token == pytest.approx(800 / 6)
    assert found.joules_why is UNSET


def test_energy_is_of_the_device_that_the_cell_owns():
    """The second card idles beside it: 120 J that the cell did not spend."""
    both: list[Record] = [
        energy(1000, 0),
        energy(1000, 0, "GPU-2222"),
        energy(3000, 500),
        energy(3000, 120, "GPU-2222"),
    ]
    assert run(list(TWO), both).joules == 500
    assert run(list(TWO), [*both[:3], energy(3000, None, "GPU-2222")]).joules == 500


def test_energy_that_is_not_known_has_its_reason():
    refused = Energy(
        t=at(3000), uuid=GPU, total_mj=None, where="edge", why={"total_mj": "not supported"}
    )
    assert run(list(TWO), [energy(1000, 1), refused]).joules_why == "not supported"
    once = run(list(TWO), [energy(1000, 1)])
    assert (once.joules, once.joules_why) == (None, NOT_READ)
    assert run(list(TWO)).joules_why is UNSET, "there is no device to know it of"


def test_a_run_of_fewer_than_twenty_steps_of_the_counter_has_no_energy():
    begin, end = phase("run", 1000, 2999)
    seen = sampled([energy(1000, 1), energy(2999, 501)])
    found: Any = summarize(merge([begin, *TWO, end], seen))
    assert (found.joules, found.joules_per_token) == (None, None)
    assert found.joules_why == TOO_SHORT


def test_a_reading_far_from_the_edge_is_of_something_else():
    assert run(list(TWO), [energy(990, 1), energy(9000, 2)]).joules is None


def test_requests_of_the_warm_up_do_not_count():
    warm = request("warmup-a", 10, 100, 100, 200, 300, 0)
    assert run([warm, *TWO]).output_tokens_per_s == 6


def test_unknown_times_are_left_out_not_zero():
    unknown = request("c", 1, 2, 1000, 1100, 1200, 1000)
    unknown.first = None
    found = run([*TWO, unknown])
    assert found.ttft_mean == pytest.approx(0.55)
    assert run([unknown]).ttft_p50 is None


def test_a_run_that_did_not_end_has_no_speed():
    assert summarize(merge([phase("run", 0, None)[0], *TWO])) is None


def gaps(edges: Sequence[float], requests: list[Record]) -> Any:
    """The gaps of requests in a run whose steps begin at `edges`."""
    begin, end = phase("run", 0, 9000)
    return token_gaps(merge([begin, *(step(ms, 1, 1) for ms in edges), *requests, end]))


def listed(found: Any) -> list[float]:
    """Every gap in milliseconds, in order."""
    return sorted(np.repeat(found.gap_s * 1e3, found.times.astype(int)).round(3).tolist())


@pytest.mark.parametrize("early", [0, 1])
def test_gaps_between_tokens_are_the_steps_between_first_and_last(early):
    edges = [0, 100, 110, 130, 160, 200]  # a token comes with the edge, or just before it
    one = request("a", 5, 4, 0, 100 - early, 160 - early, 0)
    found = gaps(edges, [one])
    assert sum(listed(found)) == pytest.approx(60)
    assert listed(found) == pytest.approx([10, 20, 30], abs=1.5)
    assert (found.counted, found.requests) == (1, 1)


def test_a_step_is_a_gap_of_each_request_in_it():
    both = [request("a", 5, 4, 0, 100, 160, 0), request("b", 5, 3, 0, 110, 160, 0)]
    found = gaps([0, 100, 110, 130, 160, 200], list(both))
    assert listed(found) == [10, 20, 20, 30, 30]
    assert (found.percentile(0), found.percentile(50), found.percentile(100)) == (0.01, 0.02, 0.03)


def test_two_tokens_are_one_gap():
    found = gaps([0, 100, 130, 200], [request("a", 5, 2, 0, 100, 130, 0)])
    assert listed(found) == [30]


def test_a_request_without_one_step_for_each_token_is_left_out():
    edges = [0, 100, 110, 130, 160, 200]
    good = request("a", 5, 4, 0, 100, 160, 0)
    stopped = request("b", 5, 3, 0, 100, 200, 0)
    found = gaps(edges, [good, stopped])
    assert listed(found) == [10, 20, 30]
    assert (found.counted, found.requests) == (1, 2)
    assert gaps(edges, [stopped]) is None
    assert gaps([], [good]) is None
