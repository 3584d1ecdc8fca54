"""The smallest KV cache that would have done, by hand."""

from typing import Any

import pytest

from measure.enough import enough
from measure.kv import summarize
from measure.ledger import close_ledger
from measure.merge import merge
from measure.result import Enough
from measure.sampled import sampled
from tests.measure.folder import GPU, MIB, at, phase, sample, step, told
from traces.records import Alloc, Device, Phase, Record


def found(held: int, total_mib: int | None = 2000, **facts: Any) -> Enough | None:
    """100 blocks of 16 slots of 1/16 MiB, one of which no request gets: 100 MiB of pool.

    Beside it 500 MiB of weights, 200 of context, 40 of graphs, 20 of workspace (620 are allocated
    before the run) and 10 of activations (630 at most); 70 of slack, which need not be.
    """
    known = {
        "kv_layout": "paged", "block_size": 16, "bytes_per_slot": MIB // 16, "num_blocks": 99,
        "pool_bytes": 100 * MIB, "weights_bytes": 500 * MIB, "context_bytes": 200 * MIB,
        "graph_bytes": 40 * MIB, **facts,
    }  # fmt: skip
    allocs = [
        Alloc(t=at(ms), where=where, allocated=620 * MIB, reserved=700 * MIB, inactive_split=0,
              peak_allocated=630 * MIB, peak_reserved=700 * MIB)
        for ms, where in ((15, "warmup.end"), (91, "run.end"))
    ]  # fmt: skip
    records: list[Record] = [
        *phase("import", 0, 10),
        *allocs,
        Phase(t=at(20), name="run", edge="begin"),
        step(20, 5, held, pool=1584),
        Phase(t=at(90), name="run", edge="end"),
        *told(92, known),
    ]
    card = Device(
        t=at(0), uuid=GPU, index=0, name="", driver="",
        memory_total=total_mib and total_mib * MIB,
    )  # fmt: skip
    timeline = merge(records, sampled([card, sample(0, 0), sample(50, 900)]))
    return enough(timeline, summarize(timeline), close_ledger(timeline, None))


def test_blocks_held_and_the_one_that_no_request_gets():
    """160 slots are 10 blocks, and one more: 11 MiB. 500 + 200 + 40 + 20 + 10 + 11 of 2,000."""
    assert found(160) == Enough(
        pool_blocks=11, pool_bytes=11 * MIB, gpu_memory_utilization=781 / 2000
    )


def test_an_engine_that_must_hold_one_request_of_the_greatest_length():
    """1,000 slots are 63 blocks, the 160 of the peak fewer."""
    needed = found(160, settings={"max_model_len": 1000})
    assert needed is not None
    assert (needed.pool_blocks, needed.pool_bytes) == (64, 64 * MIB)


def test_a_cache_without_blocks_is_enough_as_large_as_it_was():
    needed = found(160, kv_layout="static", pool_bytes=None, block_size=None, num_blocks=None)
    assert needed is not None
    assert (needed.pool_blocks, needed.pool_bytes) == (None, 10 * MIB)


@pytest.mark.parametrize("unknown", [{"context_bytes": None}, {"total_mib": None}])
def test_a_share_is_not_guessed(unknown):
    needed = found(160, **unknown)
    assert needed is not None
    assert (needed.pool_blocks, needed.gpu_memory_utilization) == (11, None)


def test_nothing_held_needs_nothing():
    assert found(0) is None
