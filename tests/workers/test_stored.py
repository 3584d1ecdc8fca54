"""What real engines count as stored is what the requests' lengths give, and no test is vacuous."""

import msgspec
import pytest

from measure.merge import merge
from measure.stored import decoded, last_steps
from measure.timeline import Timeline
from tests.workers import cells, plans
from tests.workers.cells import BACKENDS, Ran
from tests.workers.schedules import Case
from traces.reader import read
from traces.records import Kv, Phase, Record, Request

pytestmark = pytest.mark.slow


def records(found: Ran) -> list[Record]:
    """All records of a cell's folder."""
    files = [found.folder / name for name in ("worker.jsonl", "engine.jsonl")]
    return [record for file in files if file.exists() for record in read(file)]


def early(record: Record) -> Record:
    """A step's tokens counted one step before they are computed."""
    if not isinstance(record, Kv):
        return record
    slots = record.groups[0]
    more = msgspec.structs.replace(slots, stored=slots.stored + record.running)
    return msgspec.structs.replace(record, groups=[more])


def kept(timeline: Timeline) -> bool:
    """Whether the counts are those of the lengths, where there is something to compare."""
    found = decoded(timeline)
    assert found is not None
    assert found.records > 10
    return found.counted == found.by_lengths


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_stores_what_the_lengths_give(ran, backend):
    found = ran(backend)
    timeline = merge(records(found))
    assert {last.name for last in last_steps(timeline)} == {p.id for p in found.prompts}
    assert all(last.tokens == last.prompt + last.output - 1 for last in last_steps(timeline))
    assert kept(timeline)
    assert not kept(merge(early(record) for record in records(found)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_tokens_that_came_of_the_steps_are_those_of_the_requests(ran, backend):
    found = ran(backend)
    tokens = sum(request.output_tokens for request in found.requests.values())
    assert sum(kv.produced or 0 for kv in found.kv) == tokens
    stored = sum(r.prompt_tokens + r.output_tokens - 1 for r in found.requests.values())
    assert sum(kv.computed or 0 for kv in found.kv) == stored


def test_a_scheduler_that_is_a_step_ahead_counts_no_step_early(model, tmp_path):
    asked = plans.PLANS["distinct"].prompts
    case = Case(requests=asked, blocks=plans.POOL_BLOCKS, in_flight=2)
    (found,) = cells.scheduled(tmp_path / "cell", model, [case])
    begin, end = found.kv[0].t, found.kv[-1].t
    run = [Phase(t=begin, name="run", edge="begin"), Phase(t=end, name="run", edge="end")]
    asked_for = [
        Request(
            t=end, id=p.id, prompt_tokens=len(p.prompt_ids), output_tokens=p.output_tokens,
            arrive=begin, start=None, first=None, last=None, token_ids=[], token_ids_sha256="",
        )
        for p in asked
    ]  # fmt: skip
    told: list[Record] = [*run, *asked_for, *found.blocks, *found.kv]
    assert len(last_steps(merge(told))) == len(asked)
    assert kept(merge(told))
    assert not kept(merge(early(record) for record in told))
