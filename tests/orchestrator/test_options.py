"""Options that are refused: they break the counting, are said elsewhere, or change nothing."""

from typing import Any

import pytest

from orchestrator import feasible, suite
from orchestrator.backends import INTERFACE, find
from traces.errors import Problem
from traces.preparing import Shape

SHAPE = Shape(
    architecture="tiny", layers=2, kv_heads=2, transformers_kv_heads=2, head_dim=32,
    vocab_size=256, max_position=1024,
)  # fmt: skip


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ({"speculative_config": {"method": "ngram"}}, "refused, for a step no longer gives one"),
        ({"kv_transfer_config": {}}, "blocks are held by others than requests"),
        ({"scheduler_cls": "mine.Scheduler"}, "the counting is in it"),
        ({"worker_cls": "mine.Worker"}, "the counting is in it"),
        ({"tensor_parallel_size": 2}, "one device is counted"),
        ({"stream_interval": 4}, "tokens are no longer told"),
        ({"enable_prefix_caching": False}, "is the option prefix_caching: write that"),
        ({"max_model_len": 512}, "is the suite's max_length: write that"),
        (3, "args = 3 must be a table"),
    ],
)
def test_arguments_of_vllm_that_may_not_be_given(args, says):
    with pytest.raises(Problem, match=says):
        find("vllm", "here").check({"args": args}, "here")


def test_other_arguments_of_vllm_pass():
    args = {"kv_cache_dtype": "fp8", "compilation_config": {"mode": 0}}
    find("vllm", "here").check({"args": args}, "here")


@pytest.mark.parametrize("backend", ["hf-sequential", "hf-batched", "hf-paged"])
def test_compile_is_no_option_where_transformers_never_compiles(backend):
    with pytest.raises(Problem, match=f"{backend} has no option 'compile'"):
        find(backend, "here").check({"compile": True}, "here")


def check(backend: str, options: dict[str, Any], device: str, **rest: Any) -> None:
    data = {
        "name": "test",
        "workload": {"kind": "uniform", "requests": 1, "prompt": [1, 2], "output": [1, 2]},
        "backend": [{"name": backend, "options": options}], **rest,
    }  # fmt: skip
    feasible.check(suite.parse(data, "here"), SHAPE, 512, device)


@pytest.mark.parametrize(
    ("backend", "options", "device", "rest"),
    [
        ("hf-static", {"compile": True}, "cpu", {}),
        ("vllm", {"gpu_memory_utilization": 0.5}, "cpu", {}),
        ("vllm", {"gpu_memory_utilization": 0.5}, "cuda", {"kv_budget": "1GiB"}),
        ("vllm", {"kv_cache_memory_bytes": 1 << 30}, "cuda", {"kv_budget": "1GiB"}),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(backend, options, device, rest):
    (name,) = options
    with pytest.raises(Problem, match=f"{backend}: {name} has no effect here, for .*: leave it"):
        check(backend, options, device, **rest)


@pytest.mark.parametrize(
    ("backend", "options", "device"),
    [
        ("hf-static", {"compile": False}, "cpu"),  # what is asked for is what runs
        ("hf-static", {"compile": True}, "cuda"),
        ("vllm", {"gpu_memory_utilization": 0.5}, "cuda"),
        ("vllm", {"kv_cache_memory_bytes": 1 << 30}, "cpu"),
    ],
)
def test_an_option_that_has_an_effect_is_not(backend, options, device):
    check(backend, options, device)


def test_pages_of_transformers_are_its_own_where_none_are_asked_for():
    """512 tokens are two pages of 256, and two are spare: 1,024 slots of 512 bytes."""
    check("hf-paged", {}, "cuda", kv_budget=f"{1024 * 512}B")
    with pytest.raises(Problem, match="under one request of max_length 512"):
        check("hf-paged", {}, "cuda", kv_budget=f"{1024 * 512 - 1}B")


def test_our_rows_have_todays_interface():
    assert {find(name, "").interface for name in ("hf-static", "hf-paged", "vllm")} == {INTERFACE}
