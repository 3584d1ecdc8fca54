"""Which run windows a suite's [sweep] means, by hand, and in which order they come."""

from collections import Counter
from typing import Any

from orchestrator import plan, suite

WORKLOAD = {"kind": "uniform", "requests": 1, "prompt": [1, 1], "output": [1, 1]}


def parse(**changes: Any) -> suite.Suite:
    backends = [{"name": "hf-sequential"}, {"name": "vllm"}]
    data = {"name": "x", "workload": WORKLOAD, "backend": backends, **changes}
    return suite.parse(data, "test")


def test_a_swept_backend_is_one_cell_and_its_repeats_are_windows():
    found = parse(repeats=3, sweep={"policy": ["paged", "reserve-max"]})
    assert Counter(cell.name for cell in plan.cells(found)) == {
        "hf-sequential.r0": 1, "hf-sequential.r1": 1, "hf-sequential.r2": 1, "vllm.r0": 1,
    }  # fmt: skip
    first, second = found.backend
    assert plan.points(found, first, 100) == []
    points = plan.points(found, second, 100)
    assert [point.repeat for point in points] == [0, 0, 1, 1, 2, 2]
    assert Counter(point.label for point in points) == {"vllm": 3, "vllm-reserve-max": 3}
    assert plan.points(found, second, 100) == points


def test_no_window_always_comes_first():
    found = parse(repeats=40, sweep={"policy": ["paged", "reserve-max"]})
    firsts = [point.policy for point in plan.points(found, found.backend[1], 1)[::2]]
    assert 8 < firsts.count("paged") < 32


def test_budgets_are_bytes_of_the_model_where_they_are_tokens():
    """65,536 tokens of 131,072 bytes, as Llama-3.1-8B has them in bfloat16, are 8 GiB."""
    found = parse(kv_budget="65536 tokens")
    assert found.kv_budgets(131072) == [8 << 30]
    swept = parse(sweep={"kv_budget": ["1 MiB", "100 tokens"]})
    assert swept.kv_budgets(1000) == [1 << 20, 100_000]
    points = plan.points(swept, swept.backend[1], 1000)
    assert {(point.label, point.kv_budget) for point in points} == {
        ("vllm-1-MiB", 1 << 20), ("vllm-100-tokens", 100_000),
    }  # fmt: skip


def test_without_a_sweep_a_backend_runs_once_a_cell():
    found = parse(repeats=2)
    assert plan.points(found, found.backend[1], 1) == []
    assert len(plan.cells(found)) == 4
