"""The block map's data, by hand."""

from typing import Any

import msgspec

from measure.merge import merge
from report.blockmap import MOST, block_map, drawing
from tests.measure import simulate
from tests.measure.folder import at, contiguous, paged, request, told
from traces.records import Blocks, Facts, LaidOut, Phase, Record


def drawn(records: list[Record]) -> Any:
    """What the page would draw."""
    timeline = merge(records)
    return msgspec.to_builtins(drawing(timeline, timeline.start))


def test_blocks_have_a_row_each_and_a_place_in_their_request():
    found = drawn(paged())
    assert found["paged"]
    assert found["ids"] == [7, 9]
    assert found["place"] == [0, 1]
    assert found["from"] == [0.3, 0.32]
    assert found["to"] == [0.34, 0.34]
    assert found["slots"] == 4
    grown = found["requests"][0]
    assert (grown["prompt"], grown["final"]) == (3, 6)


def test_a_static_row_is_as_long_as_it_was_made():
    facts = Facts(t=at(400), values={"max_cache_len": 100})
    found = drawn([*contiguous(), facts])
    assert found["slots"] == 100
    assert found["long"] == [[100], [100]]
    assert found["pad"] == [0]


def test_a_killed_static_cache_is_as_long_as_what_it_held():
    untold = [record for record in contiguous() if not isinstance(record, Facts | LaidOut)]
    assert drawn(untold)["long"] == [[100], [100]]


def test_a_padded_batch_pads_to_its_longest_prompt():
    asked = [("a", 10, 5), ("b", 30, 2)]
    found = drawn(list(simulate.padded(asked, 2)))
    assert found["pad"] == [20, 0]
    assert found["long"] == [[30, 30], [34, 34]]  # 30 and four more: the fifth is never stored
    assert found["slots"] == 34


def test_a_block_that_changes_hands_is_two_intervals():
    records: list[Record] = [
        Phase(t=at(0), name="run", edge="begin"),
        Blocks(t=at(1), request="a", gained=[5]),
        Blocks(t=at(4), request="a", lost=[5]),
        Blocks(t=at(4), request="b", gained=[5]),
        request("a", 1, 1, 1, 2, 4, 0),
        Phase(t=at(9), name="run", edge="end"),
    ]
    found = block_map(merge(records))
    assert found is not None
    spans = [(held.request, held.begin - at(0), held.end - at(0)) for held in found.held]
    assert spans == [("a", 1_000_000, 4_000_000), ("b", 4_000_000, 9_000_000)]


def test_blocks_of_the_warm_up_are_not_shown():
    records: list[Record] = [
        Blocks(t=at(0), request="warmup", gained=[1]),
        Blocks(t=at(1), request="warmup", lost=[1]),
        *paged(),
    ]
    assert drawn(records)["ids"] == [7, 9]


def test_with_too_many_only_every_nth_block_is_drawn():
    records: list[Record] = [Phase(t=at(0), name="run", edge="begin")]
    count = 2 * MOST
    records.append(Blocks(t=at(1), request="a", gained=list(range(count))))
    records.append(Phase(t=at(9), name="run", edge="end"))
    records += told(9, {"kv_layout": "paged", "block_size": 1})
    found = drawn(records)
    assert len(found["row"]) <= MOST
    assert found["every"] == 2
    assert found["place"][1] == 2  # the blocks that are drawn keep their place in the request


def test_no_blocks_no_map():
    assert drawn([Phase(t=at(0), name="run", edge="begin")]) is None
