"""A budget of time in the real engines: full load to the deadline, then an end within 2 s."""

import pytest

from measure.merge import merge
from measure.stored import decoded, last_steps
from tests.workers import cells, plans
from tests.workers.cells import BACKENDS
from tests.workers.test_stored import records
from traces.job import Point
from traces.reader import read
from traces.records import Phase, Request

pytestmark = pytest.mark.slow

PROMPTS = plans.prompts([(20, 140)] * 24)
BUDGET_S = 0.4  # an engine needs seconds for all of it


@pytest.fixture(scope="module")
def whole(ran):
    """What these requests get when there is time."""
    return ran("vllm", "unhurried")


@pytest.mark.parametrize("backend", BACKENDS)
def test_everybody_is_offered_everything_and_what_came_counts(ran, whole, backend):
    found = ran(backend, "hurried")
    done = found.said("done")
    assert (done["ended"], done["truncated"]) == ("deadline", "")
    assert set(found.requests) == {p.id for p in found.prompts}
    ended = [r for r in found.requests.values() if r.ended is None]
    assert done["requests_run"] == len(ended) < len(found.prompts)
    assert all(len(r.token_ids) == 140 for r in ended)
    assert 0 < sum(len(r.token_ids) for r in found.requests.values()) < 140 * 24
    for name, request in found.requests.items():
        assert request.token_ids == whole.outputs[name][: len(request.token_ids)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_token_is_later_than_the_deadline_and_the_end_is_near(ran, backend):
    found = ran(backend, "hurried")
    begin = min(r.arrive for r in found.requests.values())
    last = max(r.last for r in found.requests.values() if r.last is not None)
    assert last <= begin + BUDGET_S * 1e9
    assert 0 <= found.facts["overshoot_s"] < 2
    for request in found.requests.values():
        times = (request.start, request.first, request.last)
        assert times == (None, None, None) if not request.token_ids else None not in times


@pytest.mark.parametrize("backend", ["hf-paged", "vllm"])
def test_the_full_load_runs_from_the_first_step_on(ran, backend):
    assert max(kv.running for kv in ran(backend, "hurried").kv) == len(PROMPTS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_held_afterwards(ran, backend):
    last = ran(backend, "hurried").kv[-1]
    assert (last.running, last.waiting, last.groups[0].stored) == (0, 0, 0)
    assert last.groups[0].held == (plans.ROWS * cells.MAX_LENGTH if backend == "hf-static" else 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_given_up_breaks_no_law_of_what_is_stored(ran, backend):
    """The laws are of requests that came to their end, and of steps with no other."""
    found = ran(backend, "hurried")
    timeline = merge(records(found))
    ends = last_steps(timeline)
    assert {last.name for last in ends} == {r.id for r in found.requests.values() if not r.ended}
    assert all(last.tokens == last.prompt + last.output - 1 for last in ends)
    steps = decoded(timeline)
    assert steps is None or steps.counted == steps.by_lengths


@pytest.mark.parametrize("backend", ["hf-sequential", "hf-paged", "vllm"])
def test_so_many_are_in_flight_as_the_concurrency_says(model, tmp_path, backend):
    prompts = plans.prompts([(5, 12), (33, 3), (17, 8), (12, 2)])
    room = plans.PLANS["distinct"].budget(backend)
    found = cells.run(tmp_path / "cell", model, backend, prompts, concurrency=2, kv_budget=room)
    assert found.code == 0, found.log[-4000:]
    assert max(kv.running for kv in found.kv) == (1 if backend == "hf-sequential" else 2)
    assert {len(r.token_ids) for r in found.requests.values()} == {12, 3, 8, 2}
    begin = min(r.arrive for r in found.requests.values())
    assert [r.arrive == begin for _, r in sorted(found.requests.items())] == [
        True, True, False, False,
    ]  # fmt: skip


def test_each_window_of_a_sweep_has_the_budget_and_begins_idle_and_empty(model, tmp_path):
    """A window that gave requests up leaves nothing: the engine refuses a change where one did."""
    points = [Point(label=policy, repeat=0, policy=policy) for policy in ("paged", "reserve-max")]
    found = cells.run(
        tmp_path / "cell", model, "vllm", PROMPTS, module="workers.vllm_engine", points=points,
        kv_budget=plans.PLANS["distinct"].budget("vllm"), budget_s=BUDGET_S,
    )  # fmt: skip
    assert found.code == 0, found.log[-4000:]
    records = list(read(found.folder / "worker.jsonl"))
    edges = [r.t for r in records if isinstance(r, Phase) and r.name == "run"]
    requests = [r for r in records if isinstance(r, Request) and not r.id.startswith("warmup")]
    for begin, end in (edges[:2], edges[2:]):
        window = [r for r in requests if begin <= r.t <= end]
        assert {r.id for r in window} == {p.id for p in PROMPTS}
        assert any(r.ended == "deadline" for r in window)
        assert any(r.token_ids for r in window)
        assert BUDGET_S <= (end - begin) / 1e9 < BUDGET_S + 2


def test_an_engine_in_a_process_of_its_own_is_waited_for_and_ends_too(model, tmp_path, whole):
    """Its answers come when it likes; what is given up must be gone before it is idle."""
    options = {"engine_process": True}
    room = plans.PLANS["distinct"].budget("vllm")
    found = cells.run(
        tmp_path / "cell", model, "vllm", PROMPTS, module="workers.vllm_engine", kv_budget=room,
        options=options, budget_s=BUDGET_S,
    )  # fmt: skip
    assert found.code == 0, found.log[-4000:]
    assert found.said("done")["ended"] == "deadline"
    assert max(kv.running for kv in found.kv) == len(PROMPTS)
    assert found.kv[-1].running == 0
    assert found.facts["overshoot_s"] < 2
    most = max(kv.groups[0].held / kv.pool for kv in found.kv)
    assert found.facts["engine_kv_usage_peak"] == pytest.approx(most)
    for name, request in found.requests.items():
        assert request.token_ids == whole.outputs[name][: len(request.token_ids)]
        assert request.last is None or request.last <= request.arrive + BUDGET_S * 1e9


@pytest.mark.parametrize("backend", ["hf-batched", "vllm"])
def test_a_budget_under_a_forward_pass_is_one_line(model, tmp_path, backend):
    found = cells.run(
        tmp_path / "cell", model, backend, PROMPTS, module=f"workers.{MODULES[backend]}",
        budget_s=1e-6,
    )  # fmt: skip
    said = found.said("failed")
    assert said["error"] == "Problem"
    assert said["message"].startswith("no token came within the budget of 1e-06 s: the first")
    assert found.code == 1


MODULES = {"hf-batched": "hf_batched", "vllm": "vllm_engine"}
