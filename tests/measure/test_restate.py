"""Traces that counted tokens when they were scheduled, restated; by hand."""

from typing import Any

import pytest

from measure import result
from measure.gaps import step_begins
from measure.kv import summarize
from measure.merge import merge
from measure.steps import KvSteps, kv_steps
from measure.timeline import Timeline
from tests.measure.folder import at, phase, request, step, told
from traces.records import Blocks, Record

# Blocks of 32, 64 tokens a step, a step scheduled ahead; a: 40 in, 3 out; b: 70 in, 2 out; c: 33
# in, 4 out. What was written when each step was scheduled: tokens, blocks, requests in the
# scheduler's list. Step 4 is scheduled while a and b wait for their last tokens; they end before
# step 5 is.
SCHEDULED = [(64, 3, 2), (128, 6, 3), (146, 7, 3), (147, 7, 3), (35, 2, 1), (36, 2, 1), (36, 2, 1)]
STORED = [64, 64, 128, 146, 34, 35, 36, 0]


def records(**facts: Any) -> list[Record]:
    """A run of a step a millisecond, from 10 on; what ends gives its blocks back."""
    kvs = [
        step(10 + n, tokens, blocks * 32, step=n + 1, pool=320, running=running)
        for n, (tokens, blocks, running) in enumerate(SCHEDULED)
    ]  # fmt: skip
    kvs.append(step(17, 0, 0, step=7, pool=320, running=0))
    tables = {"a": [0, 1], "b": [2, 3, 4], "c": [5, 6]}
    gained = [(10, "a", [0, 1]), (10, "b", [2]), (11, "b", [3, 4]), (11, "c", [5]), (12, "c", [6])]
    changes = [Blocks(t=at(t), request=name, gained=blocks) for t, name, blocks in gained]
    ends = {"a": 13.9, "b": 13.9, "c": 17}
    changes += [Blocks(t=at(ends[name]), request=name, lost=tables[name]) for name in tables]
    asked = {"a": (40, 3), "b": (70, 2), "c": (33, 4)}
    return [
        *told(9, {"kv_layout": "paged", "block_size": 32, **facts}),
        *phase("run", 10, 18),
        *kvs,
        *changes,
        *(request(name, *of, 10, 12, ends[name], 10) for name, of in asked.items()),
    ]


def steps(timeline: Timeline) -> KvSteps:
    found = kv_steps(timeline)
    assert found is not None
    return found


def summary(timeline: Timeline) -> result.Kv:
    found = summarize(timeline)
    assert found is not None
    return found


def test_a_record_tells_of_the_step_before_the_one_it_counted():
    timeline = merge(records(settings={"async_scheduling": True}))
    found = steps(timeline)
    assert found.stored.tolist() == STORED
    assert found.ahead.tolist() == [0, 64, 18, 1, 1, 1, 0, 0]
    counts = summary(timeline)
    assert counts.counted == "restated"
    # A millisecond each: 64 + 64 + 128 + 146 + 34 + 35 + 36 of 32 x (3 + 6 + 7 + 7 + 2 + 2 + 2).
    assert counts.efficiency == pytest.approx(507 / 928)
    assert counts.waste["scheduled_ahead"].value == pytest.approx(85 / 928)


@pytest.mark.parametrize(
    "facts",
    [{"settings": {"async_scheduling": False}}, {}, {"stored_when": "executing"}],
    ids=["a step at a time", "no such setting", "counted as today"],
)
def test_what_was_counted_right_is_left_alone(facts):
    timeline = merge(records(**facts))
    assert summary(timeline).counted == "executing"
    assert steps(timeline).stored.tolist() == [t for t, _, _ in SCHEDULED] + [0]


def test_what_cannot_be_told_stays_as_it_was_counted_and_says_so():
    shared = records(settings={"async_scheduling": True})
    shared.append(step(17.5, 0, 0, step=8, pool=320, shared=32, running=0))
    timeline = merge(shared)
    assert summary(timeline).counted == "scheduled"
    assert steps(timeline).stored[1] == 128


def test_of_several_records_of_a_step_the_last_counts_once():
    """Two steps, each told of twice: 32 of 64 then 32 of 96 slots; 64 of 96, then of 128."""
    kept = [(1, 32, 64, 10), (1, 32, 96, 11), (2, 64, 96, 12), (2, 64, 128, 15), (2, 0, 0, 16)]
    kvs = [
        step(t, stored, held, step=number, pool=320, running=int(held > 0))
        for number, stored, held, t in kept
    ]
    timeline = merge([*phase("run", 10, 17), *kvs])
    found = summary(timeline)
    assert found.steps == 2
    assert found.step_efficiency == pytest.approx((32 + 64) / (96 + 128))
    assert found.efficiency == pytest.approx((32 + 32 + 3 * 64 + 64) / (64 + 96 + 3 * 96 + 128))
    assert step_begins(timeline.kv).tolist() == [at(10), at(12), at(16)]
