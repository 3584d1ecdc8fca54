"""What the report makes of real cells: efficiency and the parts of the waste are one whole."""

import pytest

from measure.kv import summarize
from measure.merge import merge
from tests.workers.cells import BACKENDS, PAGED
from traces.reader import read

pytestmark = pytest.mark.slow

CELLS = [(backend, "distinct") for backend in BACKENDS]
CELLS += [(backend, plan) for backend in PAGED for plan in ("shared", "tight")]


def summary(found):
    """The KV summary of a cell's folder."""
    files = [found.folder / name for name in ("worker.jsonl", "engine.jsonl")]
    return summarize(merge(record for file in files if file.exists() for record in read(file)))


@pytest.mark.parametrize(("backend", "plan"), CELLS)
def test_live_and_wasted_slots_are_all_there_are(ran, backend, plan):
    found = summary(ran(backend, plan))
    parts = [found.waste[name].value for name in ("padding", "reservation", "internal")]
    assert all(0 <= part <= 1 for part in parts)
    assert 0 < found.efficiency <= 1
    assert found.efficiency + sum(parts) == pytest.approx(1)


def test_each_layout_wastes_in_its_own_way(ran):
    waste = {backend: summary(ran(backend)).waste for backend in BACKENDS}
    value = {b: {name: share.value for name, share in w.items()} for b, w in waste.items()}
    assert value["hf-sequential"]["padding"] == 0
    assert value["hf-batched"]["padding"] > 0.3
    assert value["hf-batched"]["internal"] == 0
    assert value["hf-static"]["internal"] > value["hf-static"]["reservation"] > 0
    for backend in PAGED:
        assert value[backend]["padding"] == value[backend]["external"] == 0


def test_paging_holds_more_live_tokens_than_rows_do(ran):
    found = {backend: summary(ran(backend)).efficiency for backend in BACKENDS}
    assert found["hf-sequential"] == 1  # nothing beside it runs: that is its price
    for paged in PAGED:
        assert found[paged] > found["hf-batched"] > 0
        assert found[paged] > found["hf-static"] > 0
