"""Allocation policies: blocks held after every step, counted on paper, in vLLM's own scheduler.

Blocks of 32. A request's tokens at its nth step are prompt + n - 1, and so are those it ends with.
Runs are written as (blocks held, steps).
"""

from itertools import groupby
from typing import Any

import pytest

from tests.workers import cells, plans
from tests.workers.cells import BLOCK
from tests.workers.schedules import Case
from traces.job import Prompt
from traces.policy import POLICIES, blocks, reserved_tokens

# L 128. A(40, 20): 40 to 59 tokens, 2 blocks; reserved 59 (2), 40 + 32 (3), 128 (4).
# B(10, 10): 10 to 19, 1; 19 (1), 10 + 16 (1), 4.  C(70, 40): 70 to 109, 3 until its 27th step,
# then 4; 109 (4), 70 + 64 is over L (4), 4.
THREE = {
    "paged": [(6, 10), (5, 10), (3, 7), (4, 13)],
    "reserve-final": [(7, 10), (6, 10), (4, 20)],
    "reserve-pow2": [(8, 10), (7, 10), (4, 20)],
    "reserve-max": [(12, 10), (8, 10), (4, 20)],
}
# L 192, a prefix of 64 that both share: 2 blocks, held once. a(74, 30): 3 until 96, its 23rd step,
# then 4; 103 (4), 74 + 32 (4), 6.  b(84, 10): 84 to 93, 3; 93 (3), 84 + 16 (4), 6.
SHARED = {
    "paged": [(4, 10), (3, 13), (4, 7)],
    "reserve-final": [(5, 10), (4, 20)],
    "reserve-pow2": [(6, 10), (4, 20)],
    "reserve-max": [(10, 10), (6, 20)],
}
# L 192, 64 tokens a step: 64 of a prompt of 100 first (2 blocks), then 36, then 4 more tokens.
# Reserved from the first chunk on: 104 (4), 100 + 8 (4), 6.
CHUNKED = {
    "paged": [(2, 1), (4, 5)],
    "reserve-final": [(4, 6)],
    "reserve-pow2": [(4, 6)],
    "reserve-max": [(6, 6)],
}
# L 256 in 8 blocks, 64 tokens a step; a(40, 30), b(70, 4), c(33, 31). reserve-max: 8 each, so one
# after the other: 30 + (2 + 3) + 31 steps of 8.
ONE_AT_A_TIME = {"reserve-max": [(8, 66)]}
PLANS: dict[str, tuple[dict[str, list[tuple[int, int]]], list[Prompt], dict[str, Any], int]] = {
    "three": (THREE, plans.prompts([(40, 20), (10, 10), (70, 40)]), {"max_length": 128}, 12),
    "shared": (SHARED, plans.prompts([(10, 30), (20, 10)], 64), {"prefix_caching": True}, 64),
    "chunked": (CHUNKED, plans.prompts([(100, 5)]), {"tokens": 64}, 64),
    "waiting": (
        ONE_AT_A_TIME, plans.prompts([(40, 30), (70, 4), (33, 31)]),
        {"tokens": 64, "max_length": 256}, 8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def held(model, tmp_path_factory):
    """Return blocks held at every step, by plan, policy and steps in flight."""
    names, cases = [], []
    for plan, (expected, requests, rest, pool) in PLANS.items():
        for policy in expected:
            for flying in (1, 2):
                names.append((plan, policy, flying))
                cases.append(
                    Case(requests=requests, blocks=pool, policy=policy, in_flight=flying, **rest)
                )
    found = cells.scheduled(tmp_path_factory.mktemp("policy") / "cases", model, cases)
    return dict(zip(names, found, strict=True))


def runs(found, last=False):
    """Blocks held and for how many steps, by the first record of each step, or by the last."""
    steps = {}
    for kv in found.kv:
        if kv.running and (last or kv.step not in steps):
            steps[kv.step] = kv.groups[0].held // BLOCK
    return [(blocks, len(list(same))) for blocks, same in groupby(steps.values())]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "policy"), [(plan, policy) for plan, row in PLANS.items() for policy in row[0]]
)
def test_blocks_held_at_every_step_are_those_counted_on_paper(held, plan, policy):
    assert runs(held[plan, policy, 1]) == PLANS[plan][0][policy]


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["three", "shared", "chunked"])
@pytest.mark.parametrize("policy", POLICIES[1:])
def test_scheduling_ahead_changes_no_reservation(held, plan, policy):
    """What is held does not grow with the step ahead: it is there from admission on."""
    assert runs(held[plan, policy, 2], last=True) == PLANS[plan][0][policy]


@pytest.mark.slow
@pytest.mark.parametrize("flying", [1, 2])
def test_who_has_reserved_its_maximum_is_never_preempted(held, flying):
    found = held["waiting", "reserve-max", flying]
    assert sum(kv.preempted for kv in found.kv) == 0
    assert max(kv.running for kv in found.kv) == 1


def test_the_power_of_two_is_of_the_output_alone():
    """100 + 25: the paper's Pow2 gives 100 + 32, a power of two of the whole would be 128 too;
    40 + 25 tells them apart: 72, not 128. 32 stays 32, and 1 stays 1."""
    assert reserved_tokens("reserve-pow2", 40, 25, 2048) == 72
    assert reserved_tokens("reserve-pow2", 40, 32, 2048) == 72
    assert reserved_tokens("reserve-pow2", 40, 33, 2048) == 104
    assert reserved_tokens("reserve-pow2", 40, 1, 2048) == 41
    assert reserved_tokens("reserve-pow2", 40, 33, 100) == 100


def test_the_oracle_knows_that_the_last_token_is_never_stored():
    assert reserved_tokens("reserve-final", 40, 25, 2048) == 64
    assert blocks("reserve-final", 40, 25, 2048, 32) == blocks("paged", 40, 25, 2048, 32) == 2
    assert blocks("reserve-max", 40, 25, 2048, 32) == 64
