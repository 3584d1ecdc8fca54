"""The scheduler of production, which runs a step ahead: counts by hand, with and without room."""

import pytest

from tests.workers import cells, plans
from tests.workers.cells import BLOCK
from tests.workers.plans import PLANS
from tests.workers.schedules import Case

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ahead(model, tmp_path_factory):
    """Return what the scheduler recorded of a plan."""
    rooms = {"distinct": plans.POOL_BLOCKS, "tight": plans.TIGHT_BLOCKS}
    cases = [Case(requests=PLANS[p].prompts, blocks=n, in_flight=2) for p, n in rooms.items()]
    found = cells.scheduled(tmp_path_factory.mktemp("ahead") / "cases", model, cases)
    return dict(zip(rooms, found, strict=True)).__getitem__


def test_stored_is_what_the_executing_step_and_those_before_it_computed(ahead):
    """The last record of each step, by hand: blocks of the step after it are held already.

    At step n a request stores its prompt and n - 1 tokens; the step that is scheduled ahead has one
    token more of each request that goes on, in a block taken for it where a block's edge is passed.
    """
    found = ahead("distinct")
    last = {kv.step: kv for kv in found.steps}
    for n, kv in last.items():
        left = [p for p in found.prompts if p.output_tokens >= n]
        on = [p for p in left if p.output_tokens > n]
        held = [len(p.prompt_ids) + min(n + 1, p.output_tokens) - 1 for p in left]
        assert kv.groups[0].stored == sum(len(p.prompt_ids) + n - 1 for p in left)
        assert kv.groups[0].ahead == len(on)
        assert kv.groups[0].held == sum(-(-length // BLOCK) * BLOCK for length in held)
        assert kv.running == len(left)
    assert list(last) == [*range(1, max(p.output_tokens for p in found.prompts) + 1)]


def test_chunks_of_a_prompt_count_from_the_step_that_computes_them(model, tmp_path):
    """Blocks of 32, 64 tokens a step; a: 40 in, 3 out; b: 70 in, 2 out; c: 33 in, 4 out.

    Step 1 computes a 40, b 24; step 2 a 1, b 46, c 17; step 3 a 1, b 1, c 16; then c alone. The
    record when step 2 is scheduled, with step 1 executing, must say 64 and not 128.
    """
    asked = plans.prompts([(40, 3), (70, 2), (33, 4)])
    case = Case(requests=asked, blocks=64, tokens=64, in_flight=2)
    (found,) = cells.scheduled(tmp_path / "cell", model, [case])
    counts = [
        (kv.step, kv.groups[0].stored, kv.groups[0].ahead, kv.groups[0].held // BLOCK)
        for kv in found.kv
    ]
    assert counts == [
        (1, 64, 0, 3),  # scheduled 1: a 2 blocks, b 1
        (1, 64, 64, 6),  # scheduled 2: b holds 3, c 1
        (2, 128, 0, 6),  # 1 is done
        (2, 128, 18, 7),  # scheduled 3: c holds 2
        (3, 146, 0, 7),
        (3, 146, 1, 7),  # a and b get their last tokens: only c goes on
        (4, 34, 0, 2),
        (4, 34, 1, 2),
        (5, 35, 0, 2),
        (5, 35, 1, 2),
        (6, 36, 0, 2),  # nothing to schedule: that is no step
        (6, 0, 0, 0),
    ]
    # Of each step once: a gets a token of steps 1 to 3, b of 2 and 3, c of 3 to 6.
    told = [(kv.step, kv.computed, kv.produced) for kv in found.kv if kv.computed is not None]
    assert told == [(1, 64, 1), (2, 64, 2), (3, 18, 3), (4, 1, 1), (5, 1, 1), (6, 1, 1)]
    assert sum(kv.produced is not None for kv in found.kv) == len(told)
    ends = {blocks.request: blocks.stored for blocks in found.blocks if blocks.lost}
    assert ends == {p.id: len(p.prompt_ids) + p.output_tokens - 1 for p in asked}
    assert [kv.free_blocks for kv in found.kv] == [
        64 - kv.groups[0].held // BLOCK for kv in found.kv
    ]


@pytest.mark.parametrize("plan", ["distinct", "tight"])
def test_blocks_records_add_up(ahead, plan):
    for kv, tables in ahead(plan).tables():
        held = [block for table in tables.values() for block in table]
        assert len(held) == len(set(held))
        assert len(held) * BLOCK == kv.groups[0].held
        assert len(tables) == kv.running
        assert kv.groups[0].shared == 0
    assert not tables


def test_who_gives_way_is_counted_and_comes_back(ahead):
    found = ahead("tight")
    assert sum(kv.preempted for kv in found.kv) > 0
    assert max(kv.waiting for kv in found.kv) > 0
    assert max(kv.groups[0].held for kv in found.kv) <= plans.TIGHT_BLOCKS * BLOCK
    assert all(0 <= kv.groups[0].stored <= kv.groups[0].held for kv in found.kv)
    assert {change.request for change in found.blocks} == {p.id for p in found.prompts}
