"""What the cells are asked to do, and what must come of it: worked out by hand, not by a worker.

A slot is one token position over all layers. At step n of a request that began at step 1, its
prompt and n - 1 tokens are stored.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from tests.workers.cells import BLOCK, MAX_LENGTH
from tests.workers.tiny import BYTES_PER_SLOT, VOCAB
from traces.job import Prompt

# Lengths at and around block edges, a prompt of one token, outputs of one token.
LENGTHS = [
    (5, 20), (33, 3), (17, 33), (64, 1), (1, 40), (48, 9),
    (90, 14), (31, 32), (32, 31), (12, 2), (70, 27), (25, 5),
]  # fmt: skip
PREFIX = 128
TAILS = [(3, 40), (20, 12), (32, 30), (45, 5), (1, 20), (33, 1), (17, 25), (8, 36)]
ROWS = 5  # what the budget of the contiguous caches holds
POOL_BLOCKS = 256
TIGHT_BLOCKS = 15  # three requests of the shared workload, until one of them grows
SPARE_BLOCKS = {"hf-paged": 2, "vllm": 1}  # beside those for requests; they are in the budget


def prompts(lengths: Sequence[tuple[int, int]], prefix: int = 0, seed: int = 1) -> list[Prompt]:
    """Requests with made-up ids, all with the same first `prefix` ids."""
    draw = random.Random(seed)
    common = [draw.randrange(VOCAB) for _ in range(prefix)]
    return [
        Prompt(
            id=f"{number:02d}", output_tokens=output,
            prompt_ids=common + [draw.randrange(VOCAB) for _ in range(length)],
        )
        for number, (length, output) in enumerate(lengths)
    ]  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """Requests, and the job's fields that make the plan: `slots` is each backend's KV budget."""

    prompts: list[Prompt]
    slots: Callable[[str], int]
    options: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)

    def budget(self, backend: str) -> int:
        """The KV budget in bytes."""
        return self.slots(backend) * BYTES_PER_SLOT

    def job(self, backend: str) -> dict[str, Any]:
        """Fields of the job."""
        return {"kv_budget": self.budget(backend), "options": self.options, **self.rest}


LONGEST = max(p for p, _ in LENGTHS) + max(o for _, o in LENGTHS)


def _slots(backend: str) -> int:
    rows = {"hf-sequential": LONGEST, "hf-static": ROWS * MAX_LENGTH, "hf-batched": ROWS * LONGEST}
    return rows.get(backend, POOL_BLOCKS * BLOCK) + BLOCK - 1  # not quite another block


def _tight(backend: str) -> int:
    return (TIGHT_BLOCKS + SPARE_BLOCKS[backend]) * BLOCK


PLANS = {
    "distinct": Plan(prompts(LENGTHS), _slots),
    "shared": Plan(prompts(TAILS, PREFIX), _slots),
    "tight": Plan(prompts(TAILS, PREFIX), _tight, options={"prefix_caching": False}),
    "unhurried": Plan(prompts([(20, 140)] * 24), _slots),
    "hurried": Plan(prompts([(20, 140)] * 24), _slots, rest={"budget_s": 0.4}),
}


@dataclass(frozen=True)
class Step:
    """What one step must be counted as."""

    live: int
    reserved: int
    pads: int
    running: int


def paged(requests: Sequence[Prompt]) -> list[Step]:
    """All requests from the first step on, each in its own blocks, nothing padded."""
    steps = []
    for n in range(1, max(p.output_tokens for p in requests) + 1):
        left = [p for p in requests if p.output_tokens >= n]
        stored = [len(p.prompt_ids) + n - 1 for p in left]
        held = sum(-(-length // BLOCK) * BLOCK for length in stored)
        steps.append(Step(sum(stored), held, 0, len(stored)))
    return steps


def batches(requests: Sequence[Prompt], sizes: Sequence[int]) -> Iterator[Sequence[Prompt]]:
    """The requests in batches of these sizes."""
    ends = list(accumulate(sizes))
    assert ends[-1] == len(requests)
    for begin, end in pairwise([0, *ends]):
        yield requests[begin:end]


def rows(requests: Sequence[Prompt], sizes: Sequence[int], length: int | None = None) -> list[Step]:
    """Batches of these sizes; `length` is a static cache's, None where the cache grows.

    A static cache has as many rows in the last batch as in the first. A row that ended, or that
    no request is in, is padding over its whole length.
    """
    steps = []
    for batch in batches(requests, sizes):
        width = max(len(p.prompt_ids) for p in batch)
        held = sizes[0] if length else len(batch)
        for n in range(1, max(p.output_tokens for p in batch) + 1):
            slots = length or width + n - 1
            left = [len(p.prompt_ids) for p in batch if p.output_tokens >= n]
            pads = sum(width - prompt for prompt in left) + (held - len(left)) * slots
            live = sum(prompt + n - 1 for prompt in left)
            steps.append(Step(live, held * slots, pads, len(left)))
    return steps


def rows_left(requests: Sequence[Prompt], sizes: Sequence[int]) -> Iterator[list[int]]:
    """At each step of each batch, the rows whose request still runs."""
    for batch in batches(requests, sizes):
        for n in range(1, max(p.output_tokens for p in batch) + 1):
            yield [row for row, prompt in enumerate(batch) if prompt.output_tokens >= n]
