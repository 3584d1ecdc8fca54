"""Contiguous caches: every step's counts by hand, and against the shapes attention was given."""

import pytest

from tests.workers import plans
from tests.workers.cells import MAX_LENGTH, ROWS, Ran
from tests.workers.tiny import BYTES_PER_SLOT

pytestmark = pytest.mark.slow

# Sizes of the batches, and the length of a static cache. The padded batches, in 681 slots, each row
# the longest prompt and the longest output of its batch: 6 x (64 + 40) = 624, and the seventh would
# make it 7 x (90 + 40); then 5 x (90 + 32) = 610, where 6 x 122 are 732; then what is left.
EXPECTED = {
    "hf-sequential": ([1] * 12, None),
    "hf-static": ([plans.ROWS, plans.ROWS, 2], MAX_LENGTH),
    "hf-batched": ([6, 5, 1], None),
}


def counted(ran: Ran) -> list[plans.Step]:
    """What the worker recorded."""
    return [
        plans.Step(kv.groups[0].stored, kv.groups[0].held, kv.groups[0].pad, kv.running)
        for kv in ran.steps
    ]


@pytest.mark.parametrize("backend", ROWS)
def test_every_step_is_as_worked_out_by_hand(ran, backend):
    found = ran(backend)
    assert counted(found) == plans.rows(found.prompts, *EXPECTED[backend])


@pytest.mark.parametrize("backend", ROWS)
def test_reserved_slots_are_those_of_the_tensors_that_attention_read(ran, backend):
    found = ran(backend)
    shapes = [step["rows"] * step["slots"] for step in found.eyes("step")]
    assert [kv.groups[0].held for kv in found.steps] == shapes
    assert [kv.pool for kv in found.kv] == [kv.groups[0].held for kv in found.kv]


@pytest.mark.parametrize("backend", ROWS)
def test_live_tokens_are_those_that_attention_may_see(ran, backend):
    """The mask given to attention lets each row see what is stored for it, and no pad."""
    found = ran(backend)
    left = plans.rows_left(found.prompts, EXPECTED[backend][0])
    for kv, seen, rows in zip(found.steps, found.eyes("mask"), left, strict=True):
        assert kv.groups[0].stored == sum(seen["visible"][row] for row in rows)


@pytest.mark.parametrize("backend", ROWS)
def test_nothing_is_live_between_batches(ran, backend):
    found = ran(backend)
    idle = [kv for kv in found.kv if not kv.running]
    held = plans.ROWS * MAX_LENGTH if backend == "hf-static" else 0
    assert [(kv.groups[0].stored, kv.groups[0].held) for kv in idle] == [(0, held)] * len(idle)
    assert len(idle) == len(found.eyes("batch"))
    assert found.kv[-1] in idle


@pytest.mark.parametrize("backend", ROWS)
def test_each_row_has_one_request_at_a_time(ran, backend):
    found = ran(backend)
    for kv, tables in found.tables():
        rows = [row for table in tables.values() for row in table]
        assert len(rows) == len(set(rows)) <= EXPECTED[backend][0][0]
        assert kv.running <= len(rows)
    assert not tables


@pytest.mark.parametrize("backend", ROWS)
def test_the_budget_holds_and_is_used(ran, backend):
    found, budget = ran(backend), plans.PLANS["distinct"].budget(backend)
    taken = max(batch["bytes"] for batch in found.eyes("batch"))
    assert taken == max(kv.groups[0].held for kv in found.kv) * BYTES_PER_SLOT
    assert taken <= budget
    assert found.facts["batch"] == EXPECTED[backend][0][0]
    if backend == "hf-static":
        assert budget < (plans.ROWS + 1) * MAX_LENGTH * BYTES_PER_SLOT


@pytest.mark.parametrize("backend", ROWS)
def test_bytes_per_slot_are_those_of_the_storages(ran, backend):
    found = ran(backend)
    last = found.eyes("batch")[-1]
    assert last["bytes"] == last["rows"] * last["slots"] * BYTES_PER_SLOT
    assert found.layout.group.bytes_per_token == BYTES_PER_SLOT
    assert found.facts["formula_bytes_per_slot"] == BYTES_PER_SLOT
