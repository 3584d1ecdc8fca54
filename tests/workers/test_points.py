"""Run windows in one engine: each as if it had an engine of its own, and the same tokens in all."""

from typing import Any

import pytest

from measure.kv import summarize
from measure.merge import merge
from measure.steps import kv_steps
from measure.timeline import at_point
from tests.workers import cells, plans
from tests.workers.cells import BLOCK
from tests.workers.test_policy import THREE
from tests.workers.tiny import BYTES_PER_SLOT
from traces.job import Point
from traces.policy import POLICIES
from traces.reader import read
from traces.records import Phase, Request

pytestmark = pytest.mark.slow

PROMPTS = plans.prompts([(40, 20), (10, 10), (70, 40)])


def budget(blocks: int) -> int:
    """Bytes of a pool of so many blocks for requests, and the null block."""
    return (blocks + 1) * BLOCK * BYTES_PER_SLOT


def run(folder, model, points, blocks):
    return cells.run(
        folder, model, "vllm", PROMPTS, module="workers.vllm_engine", max_length=128,
        kv_budget=budget(blocks), points=points, options={"prefix_caching": True},
    )  # fmt: skip


def whole(found):
    names = ("worker.jsonl", "engine.jsonl")
    return merge(record for name in names for record in read(found.folder / name))


def outputs(found):
    """Output ids by window and request."""
    ids: dict[str, dict[str, list[int]]] = {}
    point = None
    for record in read(found.folder / "worker.jsonl"):
        if isinstance(record, Phase):
            point = record.point if record.edge == "begin" else None
        elif isinstance(record, Request) and point:
            ids.setdefault(point, {})[record.id] = record.token_ids
    return ids


@pytest.fixture(scope="module")
def policies(model, tmp_path_factory):
    points = [
        Point(label=policy, repeat=repeat, policy=policy)
        for repeat in range(2)
        for policy in POLICIES
    ]
    return run(tmp_path_factory.mktemp("points") / "cell", model, points, 12)


def test_all_policies_generate_the_same_tokens(policies):
    assert policies.code == 0, policies.log[-4000:]
    ids = outputs(policies)
    assert len(ids) == 8
    assert len({str(sorted(found.items())) for found in ids.values()}) == 1


def test_each_window_holds_what_its_policy_gives(policies):
    """Blocks x steps as counted on paper in the scheduler alone, in the real engine, twice each."""
    timeline = whole(policies)
    for name in timeline.points:
        steps: Any = kv_steps(at_point(timeline, name))
        held = (steps.held[steps.held > 0] / BLOCK).tolist()
        counted = [blocks for blocks, times in THREE[name[:-3]] for _ in range(times)]
        assert held == counted, name


def test_a_windows_gauge_is_its_own(policies):
    timeline = whole(policies)
    for name in timeline.points:
        window = at_point(timeline, name)
        most = max(blocks for blocks, _ in THREE[name[:-3]])
        assert window.facts.engine_kv_usage_peak == pytest.approx(most / 12), name
        assert len(window.requests) == len(PROMPTS)


def test_withheld_blocks_are_a_smaller_pool(model, tmp_path):
    """7 of 12 blocks: the same steps, counts and preemptions as in an engine that has only 7."""
    points = [Point(label="all", repeat=0), Point(label="few", repeat=0, kv_budget=budget(7))]
    within = run(tmp_path / "within", model, points, 12)
    alone = run(tmp_path / "alone", model, [Point(label="few", repeat=0)], 7)
    assert (within.code, alone.code) == (0, 0), within.log[-2000:] + alone.log[-2000:]
    found: list[Any] = []
    for ran in (within, alone):
        window = at_point(whole(ran), "few.r0")
        summary: Any = summarize(window)
        steps: Any = kv_steps(window)
        columns = (steps.stored, steps.held, steps.running, steps.waiting, steps.preempted)
        found.append(([c.tolist() for c in columns], summary.pool_slots, summary.pool_bytes))
        assert window.facts.engine_kv_usage_peak == pytest.approx(summary.peak_reserved / 7 / BLOCK)
    assert found[0][:2] == found[1][:2]
    assert found[0][1] == 7 * BLOCK
    assert at_point(whole(within), "all.r0").kv.column("pool").max() == 12 * BLOCK
