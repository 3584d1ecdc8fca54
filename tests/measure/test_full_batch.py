"""How long an engine ran as many requests as it takes at once, by hand."""

from typing import Any

import pytest

from measure.kv import summarize
from measure.merge import merge
from tests.measure.folder import at, step, told
from traces.records import Phase


def share(**settings: Any) -> float | None:
    """From 20 to 90 ms of the run: 2 requests for 10 ms, 4 for 30, 3 for 20, and none for 10."""
    records = [
        Phase(t=at(20), name="run", edge="begin"),
        step(20, 10, 32, running=2),
        step(30, 40, 64, running=4),
        step(60, 30, 48, running=3),
        step(80, 0, 0, running=0),
        Phase(t=at(90), name="run", edge="end"),
        *told(92, {"kv_layout": "paged", "block_size": 16, "settings": settings}),
    ]
    found = summarize(merge(records))
    assert found is not None
    return found.full_batch_share


def test_the_time_at_the_limit_is_over_the_time_with_anything_held():
    """30 of 60 ms; over the whole run it would be 30 of 70, by records 1 of 4."""
    assert share(max_num_seqs=4) == pytest.approx(0.5)


def test_an_engine_that_tells_no_limit_has_no_such_share():
    assert share() is None
