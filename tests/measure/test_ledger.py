"""The ledger closes, or says by how much it does not."""

from typing import Any

from measure.ledger import close_ledger
from measure.merge import merge
from measure.sampled import sampled
from tests.measure.folder import MIB, at, host, phase, sample, step
from traces.records import Alloc, Facts, Phase, Record


def gpu(peak_mib: int = 2000, **facts: Any) -> Any:
    """A GPU cell: 1000 MiB of pool, 500 of weights, 200 context, 60 graphs (40 in the allocator).

    The allocator's peaks are 1600 allocated and 1700 reserved, so activations 100 and, less the
    graphs' 40, slack 60. Used above the baseline of 10: 1900 + 20 of the driver for the graphs.
    """
    known = {
        "kv_layout": "paged", "block_size": 16, "bytes_per_slot": MIB, "pool_bytes": 1000 * MIB,
        "weights_bytes": 500 * MIB, "context_bytes": 200 * MIB, "graph_bytes": 60 * MIB,
        "graph_pool_bytes": 40 * MIB, **facts,
    }  # fmt: skip
    records: list[Record] = [
        *phase("import", 0, 10),
        Phase(t=at(20), name="run", edge="begin"),
        step(20, 5, 16, pool_slots=1000),
        Phase(t=at(90), name="run", edge="end"),
        Alloc(
            t=at(91), where="run.end", allocated=1500 * MIB, reserved=1700 * MIB, inactive_split=0,
            peak_allocated=1600 * MIB, peak_reserved=1700 * MIB,
        ),
        Facts(t=at(92), values={name: v for name, v in known.items() if v is not None}),
    ]  # fmt: skip
    seen = sampled([sample(0, 10), sample(30, 500), sample(50, peak_mib), sample(60, 900)])
    return close_ledger(merge(records, seen), 10 * MIB)


def lines(found: Any) -> dict[str, int | None]:
    """Line sizes in MiB."""
    return {line.name: line.bytes and line.bytes // MIB for line in found.lines}


def test_gpu_ledger_by_hand():
    found = gpu(1930)
    assert lines(found) == {
        "context": 200, "weights": 500, "KV": 1000, "activations": 100, "allocator slack": 60,
        "CUDA graphs": 60,
    }  # fmt: skip
    assert found.total == 1920 * MIB
    assert found.residual == 0
    assert not found.flagged
    assert found.baseline == 10 * MIB


def test_two_percent_unexplained_is_flagged():
    assert not gpu(1930 + 38).flagged
    assert gpu(1930 + 41).flagged
    assert gpu(1930 - 41).flagged


def test_what_is_not_known_stays_null_and_falls_to_the_residual():
    found = gpu(1930, context_bytes=None)
    assert lines(found)["context"] is None
    assert next(line for line in found.lines if line.name == "context").how == "n/a"
    assert found.residual == 200 * MIB


def test_lines_and_residual_always_add_up():
    for facts in ({}, {"weights_bytes": None}, {"graph_pool_bytes": None}):
        found = gpu(1500, **facts)
        assert sum(line.bytes or 0 for line in found.lines) + found.residual == found.total


def test_a_peak_between_others_is_found_and_nulls_are_passed_over():
    records: list[Record] = [Phase(t=at(0), name="run", edge="begin"), step(1, 1, 1)]
    seen = sampled([sample(0, 1), sample(1, None), sample(2, 99), sample(3, 3)])
    found: Any = close_ledger(merge([*records, step(4, 1, 1)], seen), None)
    assert found.total == 98 * MIB


def test_memory_at_the_end_of_a_phase():
    found = gpu(1930, **{"outside_allocator_bytes.run.end": 220 * MIB}).edges
    assert [edge.phase for edge in found] == ["run"]
    (edge,) = found
    # the reading nearest to the end of the run is 900 MiB, of which 10 were there before
    assert (edge.total, edge.allocated, edge.slack) == (890 * MIB, 1500 * MIB, 200 * MIB)
    assert edge.residual == (890 - 1700 - 220) * MIB


def on_a_cpu(heap_mib: int | None, mapped_mib: int = 0) -> Any:
    """A process of 100 MiB after imports and 520 at most; 200 of weights, 50 of cache.

    At the end of the run 15 MiB more of libraries are in use, and 395 of anonymous memory.
    """
    values = {
        "kv_layout": "static", "bytes_per_slot": MIB, "weights_bytes": 200 * MIB,
        "max_cache_len": 50, "pss_files_bytes.import.end": 60 * MIB,
        "pss_files_bytes.run.end": 75 * MIB, "pss_anonymous_bytes.import.end": 40 * MIB,
        "pss_anonymous_bytes.run.end": 435 * MIB,
        "pss_weights_file_bytes.run.end": mapped_mib * MIB,
    }  # fmt: skip
    records: list[Record] = [
        *phase("import", 0, 1000),
        *phase("load", 1000, 5000),
        *phase("warmup", 5000, 9000),
        Phase(t=at(9100), name="run", edge="begin"),
        step(9100, 5, 50),
        Phase(t=at(20_000), name="run", edge="end"),
        Facts(t=at(20_000), values=values),
    ]
    for where, grown, slack in (("import.end", 0, 0), ("run.end", heap_mib, 7)):
        size = None if grown is None else (30 + grown) * MIB
        kept = None if size is None else size + slack * MIB
        records.append(
            Alloc(t=at(9000), where=where, allocated=size, reserved=kept, inactive_split=None)
        )
    readings = [host(900, 90), host(1005, 100), host(5100, 300), host(9010, 500), host(15_000, 520)]
    return close_ledger(merge(records, sampled(readings)), None)


def test_host_ledger_by_hand():
    found = on_a_cpu(280)  # the heap holds weights and cache, and 30 more
    assert lines(found) == {
        "runtime": 100, "code": 15, "weights": 200, "KV": 50, "activations": 30,
        "allocator slack": 7, "other": 108,
    }  # fmt: skip
    assert (found.total, found.residual) == (520 * MIB, 10 * MIB)
    assert not found.flagged


def test_weights_mapped_from_their_file_are_not_in_the_heap():
    assert lines(on_a_cpu(70, mapped_mib=200))["activations"] == 20


def test_without_a_heap_count_there_is_no_line_for_what_is_in_it():
    found = lines(on_a_cpu(None))
    assert found["activations"] is None
    assert "other" not in found


def test_nobody_watched():
    assert close_ledger(merge([Phase(t=at(0), name="run", edge="begin")]), None) is None
    assert close_ledger(merge([]), None) is None
