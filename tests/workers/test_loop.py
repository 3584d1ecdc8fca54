"""Decisions of a worker without an engine: what it warms up with, and how many rows a batch has."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.plans import prompts
from workers import loop
from workers.hf_batched import Worker as Batched
from workers.hf_static import Worker as Static


def test_warm_up_prompts_share_no_prefix_with_the_run():
    (prompt,) = prompts([(40, 20)])
    (short,) = loop.short([prompt], 8)
    assert short.prompt_ids == prompt.prompt_ids[::-1]
    assert (short.id, short.output_tokens) == ("warmup-00", 8)


def worker(kind: Any, slots: int, budget: int | None = 1, **options: int) -> Any:
    """A worker with so many slots of KV."""
    made = kind(SimpleNamespace(kv_budget=budget, options=options), None)
    made.slots = lambda: slots
    return made


@pytest.mark.parametrize(
    ("slots", "options", "taken"),
    [
        # 90 + 14 is 104; with (1, 40) both rows are 90 + 40: 260; three are 390, four 520
        (104, {}, 1),
        (259, {}, 1),
        (260, {}, 2),
        (389, {}, 2),
        (520, {}, 4),
        (10_000, {}, 4),
        (10_000, {"batch_size": 3}, 3),
        (260, {"batch_size": 3}, 2),
    ],
)
def test_a_padded_batch_has_the_rows_that_fit_at_its_longest_prompt_and_output(
    slots, options, taken
):
    queue = prompts([(90, 14), (1, 40), (5, 5), (6, 6)])
    assert worker(Batched, slots, **options).rows(queue) == taken


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        # 8 slots; prompts of 4, 1, 2, 3 and an output of 1 each. As they come: two rows of 5 are
        # too many; two of 3 fit, three of 4 do not.
        ({}, [["00"], ["01", "02"], ["03"]]),
        # As 4, 3, 2, 1: two rows of 5 are too many; two of 4 fit, three do not.
        ({"sort": True}, [["00"], ["03", "02"], ["01"]]),
    ],
)
def test_what_waits_is_sorted_by_its_prompts_where_that_is_asked_for(options, batches):
    padded = worker(Batched, 8, **options)
    found = []
    padded.generate = lambda batch, tell: found.append([prompt.id for prompt in batch])
    for prompt in prompts([(4, 1), (1, 1), (2, 1), (3, 1)]):
        padded.submit(prompt, 0)
    while padded._queue:
        padded.step(0, lambda came: False)
    assert found == batches


@pytest.mark.parametrize(
    ("slots", "budget", "options", "rows"),
    [
        (1000, None, {}, 1),
        (1000, None, {"batch_size": 4}, 4),
        (1000, 1, {}, 10),
        (1099, 1, {}, 10),
        (1000, 1, {"batch_size": 4}, 4),
        (99, 1, {}, 0),
    ],
)
def test_a_static_cache_has_the_rows_asked_for_or_those_that_fit(slots, budget, options, rows):
    assert worker(Static, slots, budget, **options)._fitting(100) == rows
