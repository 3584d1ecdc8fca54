"""The traces of the H100 in results/reference, against counts by hand: no engine is started.

They come from the versions and modes of production (vLLM's scheduler a step ahead and in its own
process, Transformers' pages on a GPU), which no test on a CPU runs.
"""

import json
from pathlib import Path

import pytest

from tests.workers.cells import FOREVER, ROOT, Ran
from traces.reader import Damage, read, traces_in

REFERENCE = ROOT / "results" / "reference"
CELLS = sorted(path.parent for path in REFERENCE.glob("*/cells/*/worker.jsonl.gz"))
PAGED = [cell for cell in CELLS if cell.name.startswith(("vllm", "hf-paged"))]


def name(cell: Path) -> str:
    """How a test of a cell is called."""
    return f"{cell.parents[1].name}-{cell.name}"


def ran(cell: Path) -> Ran:
    """The run phase of a stored cell, undamaged."""
    damage = Damage()
    files = reversed(traces_in(cell))  # the worker's, then the engine's
    records = [record for file in files for record in read(file, damage)]
    assert (damage.bad, damage.torn) == (0, False)
    found = Ran(cell, 0, "", [], [])
    begin, end = found.take(records)
    assert begin <= end < FOREVER
    return found


def block_tokens(found: Ran) -> int:
    """Slots of a block."""
    return found.layout.group.block_tokens or 0


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_counts_are_possible(cell):
    found = ran(cell)
    assert found.kv
    for kv in found.kv:
        assert 0 <= kv.groups[0].stored <= kv.groups[0].held <= kv.pool
        assert kv.groups[0].stored + kv.groups[0].pad <= kv.groups[0].held
    assert found.kv[-1].running == found.kv[-1].groups[0].stored == 0


@pytest.mark.parametrize("cell", CELLS, ids=name)
def test_tokens_are_as_asked(cell):
    """A request that the deadline ended may have fewer."""
    asked = json.loads((cell.parents[1] / "workload.json").read_text())["requests"]
    lengths = {r["id"]: (len(r["prompt_ids"]), r["output_tokens"]) for r in asked}
    for request in ran(cell).requests.values():
        prompt, output = lengths[request.id]
        assert request.prompt_tokens == prompt
        assert request.output_tokens == output or (request.ended and request.output_tokens < output)


@pytest.mark.parametrize("cell", PAGED, ids=name)
def test_blocks_records_add_up_to_the_sums(cell):
    found = ran(cell)
    size = block_tokens(found)
    for kv, tables in found.tables():
        held = [block for table in tables.values() for block in table]
        assert len(held) * size == kv.groups[0].held + kv.groups[0].shared
        assert len(set(held)) * size == kv.groups[0].held
    assert not tables


@pytest.mark.parametrize("cell", PAGED, ids=name)
def test_every_step_is_as_worked_out_by_hand(cell):
    """From the lengths, and the step at which each request got its first block."""
    found = ran(cell)
    if any(kv.waiting or kv.preempted or kv.groups[0].shared for kv in found.kv):
        pytest.skip("requests waited or shared: their lengths do not tell the schedule")
    size = block_tokens(found)
    ahead = int(found.facts["settings"].get("async_scheduling", False))
    steps = {kv.t: number for number, kv in enumerate(found.steps)}
    begun: dict[str, int] = {}
    for change in found.blocks:
        if change.gained:
            begun.setdefault(change.request, steps[change.t])
    assert begun.keys() == found.requests.keys()
    for number, kv in enumerate(found.steps):
        live = blocks = running = 0
        for request in found.requests.values():
            step = number - begun[request.id] + 1
            if 1 <= step <= request.output_tokens + ahead:
                stored = request.prompt_tokens + min(step, request.output_tokens) - 1
                live, running = live + stored, running + 1
                blocks += max(-(-stored // size), at_first(found, request.prompt_tokens))
        assert (kv.groups[0].stored, kv.running) == (live, running)
        assert kv.groups[0].held == blocks * size


def at_first(found: Ran, prompt: int) -> int:
    """Blocks that Transformers 5.17 takes for a prompt: at times the next one already."""
    older = found.facts["versions"]["transformers"].startswith("5.17.")
    if "vllm" in found.facts["versions"] or not older:
        return 0
    return (prompt + 1) // block_tokens(found) + 1
