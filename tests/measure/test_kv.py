"""KV numbers that can be worked out by hand, and laws that hold for any trace."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from measure.kv import summarize
from measure.merge import merge
from tests.measure import simulate
from tests.measure.folder import at, phase, request, step, told
from traces.records import Alloc, Blocks, Phase, Record


def summed(records: list[Record]) -> Any:
    """The KV summary of a cell's records."""
    return summarize(merge(records))


def run(steps: list[Record], begin: float = 0, end: float = 100, **facts: Any) -> list[Record]:
    """A run phase around some steps."""
    begun = Phase(t=at(begin), name="run", edge="begin")
    ended = Phase(t=at(end), name="run", edge="end")
    return [begun, *steps, ended, *told(end, {"bytes_per_slot": 100, **facts})]


def test_efficiency_weighs_by_time_not_by_step():
    # 10 of 100 for 90 ms, 100 of 100 for 10 ms: (900 + 1000) / 10000
    found = summed(run([step(0, 10, 100), step(90, 100, 100)]))
    assert found.efficiency == pytest.approx(0.19)
    assert found.bytes_held_per_live_token == pytest.approx(100 / 0.19)


def test_step_efficiency_does_not_know_the_time():
    # (10 + 100) of (100 + 100), however long the steps took; steps that hold nothing do not count
    for at_ms in (1, 90):
        found = summed(run([step(0, 10, 100), step(at_ms, 100, 100), step(95, 0, 0)]))
        assert found.step_efficiency == 110 / 200
    assert summed(run([step(0, 0, 0)])).step_efficiency is None


def test_time_without_slots_does_not_count():
    found = summed(run([step(0, 10, 20), step(50, 0, 0, running=0)]))
    assert found.efficiency == pytest.approx(0.5)
    assert found.mean_reserved == 20


def test_steps_of_the_warm_up_do_not_count():
    records = [*phase("warmup", 0, 50), step(10, 1, 1000), *run([step(60, 5, 10)], begin=60)]
    assert summed(records).efficiency == pytest.approx(0.5)
    assert summed(records).steps == 1


def test_no_step_gives_no_summary():
    assert summed(run([])) is None
    assert summed([]) is None


def test_padding_is_as_the_worker_counted_it():
    found = summed(run([step(0, 30, 100, pad=70)], kv_layout="padded"))
    assert found.waste["padding"].value == pytest.approx(0.7)
    assert found.waste["padding"].how == "measured"
    assert found.waste["internal"].value == 0
    assert found.waste["reservation"].value == 0


def test_reservation_needs_the_final_lengths():
    found = summed(run([step(0, 30, 100)], kv_layout="static"))
    assert found.waste["reservation"].value is None
    assert found.waste["reservation"].how == "n/a"


def test_paged_without_a_block_map_is_not_guessed():
    steps: list[Record] = [step(0, 30, 32), request("a", 10, 5, 0, 1, 90, 0)]
    assert summed(run(steps, kv_layout="paged", block_size=16)).waste["internal"].how == "n/a"


def test_external_waste_is_in_relation_to_what_is_held():
    pieces = Alloc(t=at(0), where="step", allocated=0, reserved=0, inactive_split=2500)
    found = summed(run([pieces, step(0, 50, 50)], kv_layout="dynamic"))
    assert found.waste["external"].value == pytest.approx(2500 / (50 * 100))


def test_external_waste_is_above_what_the_weights_left():
    """2,500 bytes in pieces before the run; 3,000, then 2,000 in it: 500 and 0 of 5,000 held."""
    rest = Alloc(t=at(-1), where="warmup.end", allocated=0, reserved=0, inactive_split=2500)
    pieces: list[Record] = [
        Alloc(t=at(ms), where="step", allocated=0, reserved=0, inactive_split=size)
        for ms, size in ((0, 3000), (50, 2000))
    ]
    records = run([*pieces, step(0, 50, 50), step(50, 50, 50)], kv_layout="dynamic")
    assert summed([rest, *records]).waste["external"].value == pytest.approx(0.5 * 500 / 5000)


def test_a_preempted_request_gives_its_blocks_back():
    """Held twice: 3 blocks of 4 for a request of 10 (2 never filled), then none, then 3 again."""
    blocks = [1, 2, 3]
    records = run(
        [
            Blocks(t=at(0), request="a", gained=blocks),
            step(0, 10, 12),
            Blocks(t=at(20), request="a", lost=blocks),
            step(20, 0, 0, running=0, preempted=1),
            Blocks(t=at(60), request="a", gained=blocks),
            step(60, 10, 12),
            request("a", 8, 3, 0, 1, 100, 0),
        ],
        kv_layout="paged",
        block_size=4,
    )
    found = summed(records)
    assert found.preempted == 1
    assert found.waste["internal"].value == pytest.approx(2 / 12)
    assert found.waste["reservation"].value == pytest.approx(0)


def test_kv_of_two_files_is_put_in_order():
    records = run([step(90, 100, 100), step(0, 10, 100)])
    assert summed(records).efficiency == pytest.approx(0.19)


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 10_000), st.sampled_from([1, 4, 16, 128]))
def test_live_and_waste_make_up_all_that_is_held(n, seed, block):
    requests = simulate.asked(n, seed)
    for records in (
        simulate.one_by_one(requests, None),
        simulate.one_by_one(requests, 2048),
        simulate.padded(requests, 4),
        simulate.paged(requests, block, pool=2048),
    ):
        found = summed(list(records))
        parts = [found.waste[name].value for name in ("reservation", "internal", "padding")]
        assert all(0 <= part <= 1 for part in parts)
        assert sum(parts) + found.efficiency == pytest.approx(1)


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_blocks_of_one_slot_waste_nothing_but_the_last_token(n, seed):
    """A request's last token is never stored, so with blocks of one every held slot is filled."""
    found = summed(list(simulate.paged(simulate.asked(n, seed), block=1, pool=4096)))
    assert found.efficiency == pytest.approx(1)


def test_static_cache_wastes_more_than_blocks():
    requests = simulate.asked()
    static = summed(list(simulate.one_by_one(requests, 512)))
    paged = summed(list(simulate.paged(requests)))
    assert paged.efficiency > 0.9 > 0.3 > static.efficiency
    assert paged.waste["internal"].value < 0.05
    assert static.waste["internal"].value > 0.5
