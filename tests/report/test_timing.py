"""Speed and energy by hand."""

from typing import Any

import pytest

from report.merge import merge
from report.sampled import sampled
from report.timing import timing
from tests.report.folder import GPU, at, phase, request
from traces.records import Energy, Record


def energy(ms: float, joules: float | None, uuid: str = GPU) -> Energy:
    """A counter reading."""
    total = None if joules is None else int(joules * 1000)
    return Energy(t=at(ms), uuid=uuid, total_mj=total, where="edge")


def run(requests: list[Record], readings: list[Record] | None = None) -> Any:
    """Two seconds of a run phase."""
    records = [*phase("run", 1000, 3000)]
    return timing(merge([records[0], *requests, records[1]], sampled(readings or [])))


TWO = [request("a", 10, 5, 1000, 1100, 1500, 1000), request("b", 20, 1, 1500, 2000, 2000, 1000)]


def test_latencies_count_from_arrival():
    found = run(list(TWO))
    assert found.wall == 2
    assert found.output_tokens_per_s == 3
    assert found.total_tokens_per_s == 18
    assert found.ttft_mean == pytest.approx((0.1 + 1.0) / 2)
    assert found.tpot_mean == pytest.approx(0.4 / 4)  # one token has no time per further token


def test_energy_is_read_at_the_edges():
    readings: list[Record] = [energy(990, 100), energy(2000, 777), energy(3010, 300)]
    found = run(list(TWO), readings)
    assert found.joules == 200
    assert found.joules_per_token == pytest.approx(200 / 6)


def test_energy_of_several_devices_is_summed_or_unknown():
    both: list[Record] = [
        energy(990, 0),
        energy(3000, 5),
        energy(990, 1, "B"),
        energy(3000, 8, "B"),
    ]
    assert run(list(TWO), both).joules == 12
    assert run(list(TWO), [*both[:3], energy(3000, None, "B")]).joules is None


def test_a_reading_far_from_the_edge_is_of_something_else():
    assert run(list(TWO), [energy(990, 1), energy(9000, 2)]).joules is None


def test_requests_of_the_warm_up_do_not_count():
    warm = request("warmup-a", 10, 100, 100, 200, 300, 0)
    assert run([warm, *TWO]).output_tokens_per_s == 3


def test_unknown_times_are_left_out_not_zero():
    unknown = request("c", 1, 2, 1000, 1100, 1200, 1000)
    unknown.first = None
    found = run([*TWO, unknown])
    assert found.ttft_mean == pytest.approx(0.55)
    assert run([unknown]).ttft_p50 is None


def test_a_run_that_did_not_end_has_no_speed():
    assert timing(merge([phase("run", 0, None)[0], *TWO])) is None
