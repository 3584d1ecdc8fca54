"""Sizes that are wrong fail a check: those of a real trace, scaled, must not add up.

The first trace is the reference of vLLM on an H100: 57,188 MiB of pool, 15,348.5 of weights, 73,298
handed out before the first request. 761.5 MiB are left for workspaces, where 1,557 (2 % of all) may
be.
"""

from pathlib import Path

import pytest

from measure.build import Run
from measure.checks import run_checks
from measure.ledger import close_ledger
from measure.merge import merge
from measure.timeline import Timeline
from traces.layout import CacheGroup, Rank

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
LEDGER = "ledger: sum of its lines against the measured total"
REST = "allocator at rest: weights, KV pool and mask against what is handed out"


def failing(folder: str, label: str, repacked: bool = False, **factors: float) -> set[str]:
    """The checks about memory that fail where these sizes of the layout are scaled."""
    run = Run(REFERENCE / folder)
    files = run.find(label, 0)
    assert files is not None
    timeline: Timeline = merge(files.records(), run.seen(files.boot_id))
    for part in (timeline.layout.group, timeline.layout.rank):
        scale(part, factors)
    timeline.facts.weights_repacked = repacked
    checks = run_checks(timeline, None, close_ledger(timeline, None), None, None)
    return {check.name for check in checks if check.verdict == "fail"} & {LEDGER, REST}


def scale(part: CacheGroup | Rank, factors: dict[str, float]) -> None:
    for name in factors.keys() & {*part.__struct_fields__}:
        setattr(part, name, int((getattr(part, name) or 0) * factors[name]))


KV_TIMES_3 = {"pool_bytes": 3.0, "bytes_per_token": 3.0}


@pytest.mark.parametrize(
    ("factors", "fails"),
    [
        ({}, set()),
        ({"weights_bytes": 0.5}, {REST}),  # 7,674 MiB more that nobody names
        ({"weights_bytes": 2.0}, {REST, LEDGER}),  # a workspace of -14,587 MiB
        (KV_TIMES_3, {REST, LEDGER}),
    ],
)
def test_scaled_sizes_of_vllm_on_a_gpu(factors, fails):
    assert failing("mixed-h100", "vllm", **factors) == fails


@pytest.mark.parametrize(
    ("label", "factors", "fails"),
    [
        ("vllm", {}, set()),
        ("vllm", {"weights_bytes": 0.5}, {REST}),  # 129 MiB more than the 85 of workspace
        ("vllm", {"weights_bytes": 2.0}, {REST, LEDGER}),
        ("vllm", KV_TIMES_3, {REST, LEDGER}),
        ("hf-static", {}, set()),
        # Its weights are mapped from their file, so that the C heap tells only of too many.
        ("hf-static", {"weights_bytes": 0.5}, {LEDGER}),
        ("hf-static", {"weights_bytes": 2.0}, {REST, LEDGER}),
    ],
)
def test_scaled_sizes_on_a_cpu(label, factors, fails):
    assert failing("seed-cpu", label, **factors) == fails


def test_weights_that_kernels_repacked_are_not_judged():
    """Their copies are nobody's to count, and larger: 311 MiB of workspace were seen in float32."""
    half = {"weights_bytes": 0.5}
    assert failing("seed-cpu", "vllm", repacked=True, **half) == set()


def test_a_mask_that_an_older_trace_does_not_name_is_not_judged():
    assert failing("mixed-h100", "hf-paged") == set()
    assert failing("mixed-h100", "hf-paged", weights_bytes=2.0) == {LEDGER}
