"""What makes a run doubtful, by hand; and what does not."""

from collections.abc import Sequence
from typing import Any

import pytest

from measure.merge import merge
from measure.sampled import sampled
from measure.suspect import doubts
from tests.measure.folder import GPU, at, phase, step
from traces.records import Gap, Host, Kv, Load, Procs, Record

SLOWDOWN = "hw_thermal_slowdown"


def of_a_run(samples: list[Record], steps: Sequence[Record] = (), ms: float = 2000) -> Any:
    """The doubts about a run phase from 1 s on."""
    begin, end = phase("run", 1000, 1000 + ms)
    return doubts(merge([begin, *steps, end], sampled(samples)))


def load(ms: float, *reasons: str, uuid: str = GPU) -> Load:
    return Load(
        t=at(ms), uuid=uuid, gpu_util=50, mem_util=20, power_w=200.0, sm_clock=1, mem_clock=1,
        temperature=40, throttle=list(reasons),
    )  # fmt: skip


def gap(ms: float, span_ms: float) -> Gap:
    return Gap(t=at(ms), missed=1, span=int(span_ms * 1e6), cause="not scheduled")


def host(ms: float, cpu_s: float, steal_s: float | None, switches: int | None) -> Host:
    return Host(
        t=at(ms), rss=1, processes=1, cpu_s=cpu_s, host_used=1, host_total=2, load1=0.0,
        steal_s=steal_s, switches=switches,
    )  # fmt: skip


@pytest.mark.parametrize("since", [200, 700, 1400])
def test_held_back_clocks_are_seen_from_within_the_run_from_the_warm_up_and_from_before(since):
    """Read every 200 ms: free at 0, then held back to the end."""
    times = range(0, 3000, 200)
    seen: list[Record] = [load(ms, *([SLOWDOWN] if ms >= since else [])) for ms in times]
    assert of_a_run(seen) == [f"{GPU}: clocks held back ({SLOWDOWN})"]


def test_clocks_that_are_free_again_when_the_run_begins_are_no_doubt():
    assert of_a_run([load(200, SLOWDOWN), load(900), load(1100), load(2900)]) == []


def test_what_goes_on_on_another_device_is_no_doubt():
    other = "GPU-2222"
    foreign = Procs(t=at(1500), uuid=other, pids={"7": 1}, ours=None, foreign=[7])
    assert of_a_run([load(900), load(900, SLOWDOWN, uuid=other), foreign]) == []


@pytest.mark.parametrize(
    ("seen", "share"),
    [
        (gap(3001, 1301), "65.0%"),  # 1.7 s to 3.0 s of 1 s to 3 s
        (gap(1100, 400), "5.0%"),  # begun before the run
        (gap(4000, 3500), "100.0%"),  # the whole run
        (gap(1500, 30), "1.5%"),
    ],
)
def test_a_gap_counts_by_what_of_it_lies_in_the_run(seen, share):
    assert of_a_run([seen]) == [f"the sampler was late for {share} of the run"]


def test_a_gap_outside_of_the_run_is_no_doubt():
    assert of_a_run([gap(1000, 300), gap(3300, 300), gap(1500, 15)]) == []


def decode(took: list[float]) -> list[Kv]:
    """Steps of one request, a token each, that took so many ms; a prompt of 1,000 before them."""
    now = 1000.0
    steps: list[Kv] = []
    for live, ms in enumerate([*took, 0.0], 1000):
        steps.append(step(now, live, 2000))
        now += ms
    return steps


def test_like_steps_that_take_unlike_times_are_a_doubt():
    """Of 40 steps 20 take 10 ms and 20 take 30 ms: p90 to p10 is 3."""
    assert of_a_run([], decode([10.0] * 21 + [30.0] * 21)) == [
        "unsteady decode: like steps took 3.00 times as long (p90 to p10)"
    ]
    assert of_a_run([], decode([10.0] * 21 + [14.0] * 21)) == []


def test_few_steps_a_slow_one_and_steps_of_prompts_are_no_doubt():
    assert of_a_run([], decode([10.0] * 15 + [30.0] * 14)) == []
    assert of_a_run([], decode([10.0] * 20 + [500.0] + [10.0] * 20)) == []
    prompts = [step(1000 + 20 * n + 10 * (n % 2), 1000 * n, 99999) for n in range(1, 60)]
    assert of_a_run([], prompts) == []


def test_steps_that_differ_in_what_they_do_are_not_like():
    """A thousand tokens stored and 10 ms, then two thousand and 20 ms."""
    early, late = decode([10.0] * 42), decode([20.0] * 42)
    for record in late:
        record.t += at(500) - at(0)
        record.groups[0].stored += 1000
    assert of_a_run([], early + late) == []
    for record in late:
        record.groups[0].stored -= 1000
    assert len(of_a_run([], early + late)) == 1


def test_a_host_that_steals_time_is_a_doubt():
    """In the 2 s of the run 2 s of CPU time, of which 3 %, and 1 %, were stolen."""
    for stolen, doubt in ((0.06, ["the host stole time: 3.0% of the CPU time of the run"]),
                          (0.02, [])):  # fmt: skip
        seen: list[Record] = [
            host(900, 9.0, 5.0, None),
            host(1050, 10.0, 7.0, 0),
            host(1500, 10.5, None, None),
            host(3050, 12.0, 7.0 + stolen, 20),
        ]
        assert of_a_run(seen) == doubt


def test_processors_that_are_taken_away_often_are_a_doubt():
    """1,000 switches in 2 s."""
    seen: list[Record] = [host(1000, 1.0, None, 5), host(3000, 2.0, None, 1005)]
    assert of_a_run(seen) == ["the processors were taken away 500 times a second"]
