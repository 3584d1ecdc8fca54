"""Paged caches: every step's counts against the block tables and places that attention was given.

The spy looks where the model looks (the model runner's tables in vLLM, the write and read indices
in Transformers); the workers count in the scheduler and its block pool.
"""

import pytest

from tests.workers import cells, plans
from tests.workers.cells import BLOCK, PAGED
from tests.workers.tiny import BYTES_PER_SLOT, LAYERS
from traces.records import Slots

pytestmark = pytest.mark.slow

CELLS = [(backend, plan) for backend in PAGED for plan in ("distinct", "shared", "tight")]
everywhere = pytest.mark.parametrize(("backend", "plan"), CELLS)


@pytest.mark.parametrize("backend", PAGED)
def test_every_step_is_as_worked_out_by_hand(ran, backend):
    found = ran(backend)
    counted = [
        plans.Step(kv.groups[0].stored, kv.groups[0].held, kv.groups[0].pad, kv.running)
        for kv in found.steps
    ]
    assert counted == plans.paged(found.prompts)


def test_the_two_paged_engines_hold_the_same_blocks_at_every_step(ran):
    theirs, ours = ran("hf-paged").steps, ran("vllm").steps
    assert [kv.groups[0].held for kv in theirs] == [kv.groups[0].held for kv in ours]
    assert [kv.groups[0].stored for kv in theirs] == [kv.groups[0].stored for kv in ours]


@everywhere
def test_live_tokens_are_the_places_that_attention_reads(ran, backend, plan):
    found = ran(backend, plan)
    for kv, seen in zip(found.steps, found.eyes("step"), strict=True):
        if seen["sequences"] == kv.running:
            assert kv.groups[0].stored == seen["places"]
        else:  # Transformers leaves a request out of a step when no block is free for it
            assert (backend, plan) == ("hf-paged", "tight")
            assert kv.groups[0].stored > seen["places"]


@everywhere
def test_reserved_slots_are_the_blocks_in_the_tables_of_the_model(ran, backend, plan):
    found = ran(backend, plan)
    for kv, seen in zip(found.steps, found.eyes("step"), strict=True):
        if seen["sequences"] == kv.running:
            assert kv.groups[0].held == len(seen["blocks"]) * BLOCK
        if "tables" in seen:
            assert kv.groups[0].shared == (seen["tables"] - len(seen["blocks"])) * BLOCK


@everywhere
def test_blocks_records_add_up_to_the_tables(ran, backend, plan):
    """Who holds what, rebuilt from gains and losses, against the sums and against the model."""
    found = ran(backend, plan)
    steps = iter(found.eyes("step"))
    for kv, tables in found.tables():
        held = [block for table in tables.values() for block in table]
        assert len(held) * BLOCK == kv.groups[0].held + kv.groups[0].shared
        assert len(set(held)) * BLOCK == kv.groups[0].held
        assert len(tables) == kv.running
        if kv.running:
            seen = next(steps)
            assert set(seen["blocks"]) <= set(held)
            if seen["sequences"] == kv.running:
                assert set(seen["blocks"]) == set(held)
    assert not tables, "not all blocks were given back"


@everywhere
def test_counts_are_possible(ran, backend, plan):
    for kv in ran(backend, plan).kv:
        assert 0 <= kv.groups[0].stored <= kv.groups[0].held <= kv.pool
        assert kv.groups[0].pad == 0
        assert kv.groups[0].ahead == 0  # on a CPU no engine schedules ahead


@everywhere
def test_nothing_is_held_at_the_end(ran, backend, plan):
    last = ran(backend, plan).kv[-1]
    assert (last.running, last.waiting, last.groups) == (0, 0, [Slots(0, 0)])


@pytest.mark.parametrize("plan", ["distinct", "shared", "tight"])
def test_the_gauges_of_vllm_say_the_same(ran, plan):
    """vLLM's own usage, running and waiting, which it takes after it freed what has ended."""
    found = ran("vllm", plan)
    gauges = iter(found.eyes("gauge"))
    for (kv, tables), following in zip(found.tables(), found.kv[1:], strict=False):
        ended = {
            change.request
            for change in found.blocks
            if change.lost and kv.t < change.t
            and (change.t < following.t or not following.running)
        }  # fmt: skip
        left = {b for name, table in tables.items() if name not in ended for b in table}
        gauge = next(gauges)
        assert gauge["usage"] * found.facts["num_blocks"] == pytest.approx(len(left))
        assert gauge["running"] == kv.running - len(ended & tables.keys())
        assert gauge["waiting"] == kv.waiting
    assert next(gauges, None) is None


@pytest.mark.parametrize("plan", ["distinct", "shared", "tight", "hurried"])
def test_the_gauge_at_its_peak_is_that_of_the_tables(ran, plan):
    """The tables are counted here, the gauge is the engine's own over its free blocks.

    The hurried run gives requests up while they hold blocks.
    """
    found = ran("vllm", plan)
    most = max(len({b for table in tables.values() for b in table}) for _, tables in found.tables())
    assert max(kv.groups[0].held for kv in found.kv) == most * BLOCK
    peak = found.facts["engine_kv_usage_peak"] * found.facts["num_blocks"]
    assert peak == pytest.approx(most)


@pytest.mark.parametrize("plan", ["distinct", "shared", "tight"])
def test_vllm_counts_as_many_preemptions(ran, plan):
    found = ran("vllm", plan)
    theirs = sum(gauge["preempted"] for gauge in found.eyes("gauge"))
    assert sum(kv.preempted for kv in found.kv) == theirs


def test_vllm_holds_a_shared_prefix_once_from_the_first_step_on(ran):
    found = ran("vllm", "shared")
    saved = [plans.PREFIX * (kv.running - 1) for kv in found.steps]
    assert [kv.groups[0].shared for kv in found.steps] == saved


def test_transformers_shares_a_prefix_after_the_step_that_computed_it(ran):
    """It finds equal blocks when they are full, and lets go of all but one of them."""
    found = ran("hf-paged", "shared")
    saved = [plans.PREFIX * (kv.running - 1) for kv in found.steps]
    assert [kv.groups[0].shared for kv in found.steps] == [0, *saved[1:]]


@pytest.mark.parametrize("backend", PAGED)
def test_nothing_is_shared_when_prefix_caching_is_off(ran, backend):
    for kv in ran(backend, "tight").kv:
        assert kv.groups[0].shared == 0


@pytest.mark.parametrize("backend", PAGED)
@pytest.mark.parametrize("plan", ["distinct", "tight"])
def test_the_pool_is_the_budget(ran, backend, plan):
    found, budget = ran(backend, plan), plans.PLANS[plan].budget(backend)
    block = BLOCK * BYTES_PER_SLOT
    (pool,) = (line["bytes"] for line in found.eyes("pool"))
    assert pool == found.layout.rank.pool_bytes
    assert budget - block < pool <= budget
    usable = pool // block - plans.SPARE_BLOCKS[backend]
    assert found.facts["num_blocks"] == usable
    assert {kv.pool for kv in found.kv} == {usable * BLOCK}


@everywhere
def test_bytes_per_slot_are_those_of_the_pool(ran, backend, plan):
    group = ran(backend, plan).layout.group
    assert group.bytes_per_token == BYTES_PER_SLOT
    assert (group.block_tokens, group.bytes_per_block) == (BLOCK, BLOCK * BYTES_PER_SLOT)
    assert group.layers == LAYERS


@pytest.mark.parametrize("backend", PAGED)
def test_a_tight_pool_makes_requests_wait_and_give_way(ran, backend):
    found = ran(backend, "tight")
    assert max(kv.waiting for kv in found.kv) > 0
    assert sum(kv.preempted for kv in found.kv) > 0
    assert max(kv.groups[0].held for kv in found.kv) <= plans.TIGHT_BLOCKS * BLOCK
    assert max(kv.running for kv in found.kv) < len(found.prompts)


def test_attention_and_tokens_of_a_step_are_as_asked(ran, model, tmp_path):
    """Prompts longer than a step may compute are taken in parts, and nothing else changes."""
    plan = plans.PLANS["distinct"]
    job = plan.job("hf-paged") | {"options": {"attention": "eager", "max_batch_tokens": 16}}
    found = cells.run(tmp_path / "cell", model, "hf-paged", plan.prompts, **job)
    assert found.code == 0, found.log[-4000:]
    assert found.facts["settings"] == {
        "attention": "eager", "execution": "eager", "max_batch_tokens": 16, "max_num_seqs": 16,
        "page_size": BLOCK,
    }  # fmt: skip
    assert found.facts["mask_bytes"] % (16 * 4) == 0  # rows of float32, one for each such token
    assert found.facts["mask_bytes"] // (16 * 4) >= found.facts["num_blocks"]
    assert max(step["written"] for step in found.eyes("step")) <= 16
    assert found.outputs == ran("hf-paged").outputs
    assert all(0 <= kv.groups[0].stored <= kv.groups[0].held for kv in found.kv)
    assert ran("hf-paged").facts["settings"]["attention"] == "sdpa"
