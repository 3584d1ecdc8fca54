"""The scheduler of production, which runs a step ahead: counts by hand, with and without room."""

import pytest

from tests.workers import cells, plans
from tests.workers.cells import BLOCK
from tests.workers.plans import PLANS, Step

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ahead(model, tmp_path_factory):
    """Return what the scheduler recorded of a plan."""
    folder, known = tmp_path_factory.mktemp("ahead"), {}

    def run(plan: str) -> cells.Ran:
        if plan not in known:
            blocks = plans.TIGHT_BLOCKS + 1 if plan == "tight" else plans.POOL_BLOCKS
            known[plan] = cells.scheduled_ahead(folder / plan, model, PLANS[plan].prompts, blocks)
        assert known[plan].code == 0, known[plan].log[-4000:]
        return known[plan]

    return run


def test_a_token_scheduled_ahead_is_counted_once_and_none_past_the_end(ahead):
    found = ahead("distinct")
    counted = [Step(kv.live_tokens, kv.reserved_slots, 0, kv.running) for kv in found.steps]
    assert counted == plans.paged(found.prompts, ahead=1)


@pytest.mark.parametrize("plan", ["distinct", "tight"])
def test_blocks_records_add_up(ahead, plan):
    for kv, tables in ahead(plan).tables():
        held = [block for table in tables.values() for block in table]
        assert len(held) == len(set(held))
        assert len(held) * BLOCK == kv.reserved_slots
        assert len(tables) == kv.running
        assert kv.shared_slots == 0
    assert not tables


def test_who_gives_way_is_counted_and_comes_back(ahead):
    found = ahead("tight")
    assert sum(kv.preempted for kv in found.kv) > 0
    assert max(kv.waiting for kv in found.kv) > 0
    assert max(kv.reserved_slots for kv in found.kv) <= plans.TIGHT_BLOCKS * BLOCK
    assert all(0 <= kv.live_tokens <= kv.reserved_slots for kv in found.kv)
    assert {change.request for change in found.blocks} == {p.id for p in found.prompts}
