"""The ledger closes, or says by how much it does not."""

from typing import Any

import pytest

from measure.ledger import close_ledger
from measure.merge import merge
from measure.sampled import sampled
from tests.measure.folder import MIB, at, host, phase, sample, step, told
from traces.records import Alloc, Phase, Record


def allocated(
    ms: float, where: str, mib: int, reserved: int = 1700, peak: int | None = None
) -> Alloc:
    """The allocator at one moment, in MiB; with the peak of what was allocated up to then."""
    return Alloc(
        t=at(ms), where=where, allocated=mib * MIB, reserved=reserved * MIB, inactive_split=0,
        peak_allocated=peak and peak * MIB, peak_reserved=peak and reserved * MIB,
    )  # fmt: skip


def gpu(peak_mib: int = 2000, **facts: Any) -> Any:
    """A GPU cell: 1000 MiB of pool, 500 of weights, 200 context, 60 graphs (40 in the allocator).

    Of 1530 allocated before the first request 30 are neither: workspace. The allocator's peaks are
    1630 allocated and 1730 reserved, so activations 100 and, less the graphs' 40, slack 60. Used
    above the baseline of 10: 1930 + 20 of the driver for the graphs.
    """
    known = {
        "kv_layout": "paged", "block_size": 16, "bytes_per_slot": MIB, "pool_bytes": 1000 * MIB,
        "weights_bytes": 500 * MIB, "context_bytes": 200 * MIB, "graph_bytes": 60 * MIB,
        "graph_pool_bytes": 40 * MIB, **facts,
    }  # fmt: skip
    records: list[Record] = [
        *phase("import", 0, 10),
        allocated(15, "warmup.end", 1530),
        Phase(t=at(20), name="run", edge="begin"),
        step(20, 5, 16, pool=1000),
        Phase(t=at(90), name="run", edge="end"),
        allocated(91, "run.end", 1530, 1730, peak=1630),
        *told(92, known),
    ]  # fmt: skip
    seen = sampled([sample(0, 10), sample(30, 500), sample(50, peak_mib), sample(60, 900)])
    return close_ledger(merge(records, seen), 10 * MIB)


def lines(found: Any) -> dict[str, int | None]:
    """Line sizes in MiB."""
    return {line.name: line.bytes and line.bytes // MIB for line in found.lines}


def test_gpu_ledger_by_hand():
    found = gpu(1960)
    assert lines(found) == {
        "context": 200, "weights": 500, "KV": 1000, "workspace": 30, "activations": 100,
        "allocator slack": 60, "CUDA graphs": 60,
    }  # fmt: skip
    assert {line.how for line in found.lines} == {"measured"}
    assert found.total == 1950 * MIB
    assert found.residual == 0
    assert not found.flagged
    assert found.baseline == 10 * MIB


def test_two_percent_unexplained_is_flagged():
    assert not gpu(1960 + 38).flagged
    assert gpu(1960 + 41).flagged
    assert gpu(1960 - 41).flagged


def test_a_mask_has_a_line_of_its_own():
    found = gpu(1960, mask_bytes=20 * MIB)
    assert (lines(found)["workspace"], lines(found)["attention mask"]) == (10, 20)
    assert found.residual == 0


@pytest.mark.parametrize("facts", [{"weights_bytes": 531 * MIB}, {"pool_bytes": 1031 * MIB}])
def test_a_line_below_zero_fails_though_all_adds_up(facts):
    """One MiB more than was allocated before the first request: workspace -1, residual 0."""
    found = gpu(1960, **facts)
    assert (lines(found)["workspace"], found.residual, found.flagged) == (-1, 0, True)


def growing(kv_scale: int = 1, peaks: bool = True) -> Any:
    """A cache that grows, of 4 tensors and 1 MiB a slot: 500 MiB of weights, 20 of workspace.

    Of two steps the second has the higher peak: 660 MiB, of which 520 are there at rest and 104 are
    the cache of its 104 slots, 624 in all at its end. 36 are left: one tensor of the old cache is
    there beside the new one (104 / 4 = 26), 10 are activations.
    """
    values = {
        "kv_layout": "dynamic", "bytes_per_slot": kv_scale * MIB, "cache_tensors": 4,
        "weights_bytes": 500 * MIB, "context_bytes": 200 * MIB, "graph_bytes": 0,
    }  # fmt: skip
    records: list[Record] = [
        *phase("import", 0, 10),
        allocated(15, "warmup.end", 520),
        Phase(t=at(20), name="run", edge="begin"),
        step(20, 100, 100),
        allocated(20, "step", 620, 700, peak=(peaks and 650) or None),
        step(30, 104, 104),
        allocated(30, "step", 624, 700, peak=(peaks and 660) or None),
        step(40, 0, 0),
        Phase(t=at(90), name="run", edge="end"),
        allocated(91, "run.end", 520, 700, peak=520 if peaks else 660),
        *told(92, values),
    ]
    return merge(records, sampled([sample(0, 0), sample(50, 900)]))


def test_a_growing_cache_by_hand():
    found: Any = close_ledger(growing(), 0)
    assert lines(found) == {
        "context": 200, "weights": 500, "KV": 104, "workspace": 20, "activations": 10,
        "cache copy": 26, "allocator slack": 40, "CUDA graphs": 0,
    }  # fmt: skip
    assert (found.residual, found.flagged) == (0, False)
    assert {line.name for line in found.lines if line.how == "derived"} == {"cache copy"}


def test_the_residual_of_a_growing_cache_tells_that_its_bytes_are_wrong():
    """Three times as many bytes a slot: 208 too many. The copy, three times too large, is bounded
    by the 36 that there are."""
    found: Any = close_ledger(growing(kv_scale=3), 0)
    assert (lines(found)["cache copy"], lines(found)["activations"]) == (36, 0)
    assert (found.residual, found.flagged) == (-208 * MIB, True)


def test_a_trace_without_peaks_of_steps_has_its_activations_derived():
    """660 at most in the run, less 520 before it and the largest cache of 104."""
    found: Any = close_ledger(growing(peaks=False), 0)
    line = next(line for line in found.lines if line.name == "activations")
    assert (line.bytes, line.how) == (36 * MIB, "derived")
    assert "cache copy" not in lines(found)
    assert found.residual == 0


def test_prefill_copies_no_cache():
    timeline = growing()
    timeline.steps.arrays[3][0] = 999 * MIB  # the first step has the highest peak
    found: Any = close_ledger(timeline, 0)
    assert (lines(found)["KV"], lines(found)["cache copy"]) == (100, 0)
    assert lines(found)["activations"] == 999 - 620


def test_what_is_not_known_stays_null_and_falls_to_the_residual():
    found = gpu(1960, context_bytes=None)
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
    found = gpu(1960, **{"outside_allocator_bytes.run.end": 220 * MIB}).edges
    assert [edge.phase for edge in found] == ["run"]
    (edge,) = found
    # the reading nearest to the end of the run is 900 MiB, of which 10 were there before
    assert (edge.total, edge.allocated, edge.slack) == (890 * MIB, 1530 * MIB, 200 * MIB)
    assert edge.residual == (890 - 1730 - 220) * MIB


def on_a_cpu(heap_mib: int | None, mapped_mib: int = 0, layout: str = "static") -> Any:
    """A process of 100 MiB after imports and 520 at most; 200 of weights, 50 of cache.

    The heap has 10 MiB less before the run than at its end.

    At the end of the run 15 MiB more of libraries are in use, and 395 of anonymous memory.
    """
    values = {
        "kv_layout": layout, "bytes_per_slot": MIB, "weights_bytes": 200 * MIB,
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
        *told(20_000, values),
    ]
    rest = heap_mib and heap_mib - 10
    for where, grown, slack in (
        ("import.end", 0, 0), ("warmup.end", rest, 0), ("run.end", heap_mib, 7),
    ):  # fmt: skip
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
        "runtime": 100, "code": 15, "weights": 200, "KV": 50, "workspace": 20, "activations": 10,
        "allocator slack": 7, "other": 108,
    }  # fmt: skip
    assert (found.total, found.residual) == (520 * MIB, 10 * MIB)
    assert not found.flagged


def test_weights_mapped_from_their_file_are_not_in_the_heap():
    assert lines(on_a_cpu(70, mapped_mib=200))["workspace"] == 10


def test_a_cache_that_was_freed_is_not_in_the_slack_as_well():
    """200 of weights and 30 more are at rest; of the 7 of slack all may be the cache's 50."""
    found = lines(on_a_cpu(240, layout="dynamic"))
    assert (found["KV"], found["workspace"], found["allocator slack"]) == (50, 30, 0)


def test_without_a_heap_count_there_is_no_line_for_what_is_in_it():
    found = lines(on_a_cpu(None))
    assert found["activations"] is None
    assert "other" not in found


def test_nobody_watched():
    assert close_ledger(merge([Phase(t=at(0), name="run", edge="begin")]), None) is None
    assert close_ledger(merge([]), None) is None
