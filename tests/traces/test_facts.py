"""The engine's facts: two forms, and nothing lost between them."""

import pytest

from traces.errors import Problem
from traces.facts import AT_EDGES, EngineFacts, from_values, to_values

SAID = {
    "num_blocks": 99, "formula_bytes_per_slot": 256, "settings": {}, "engine_kv_usage_peak": 0.5,
    "outside_allocator_bytes.load.end": None, "pss_files_bytes.run.end": 7,
    "context_at_import_bytes": None, "max_cache_len": None, "pss_files_bytes": 3, "extras": 4,
    "environment": ["PATH"],
}  # fmt: skip


def test_everything_that_was_said_is_kept():
    assert to_values(from_values(SAID)) == SAID
    assert to_values(EngineFacts()) == {}


def test_known_facts_are_attributes_and_the_rest_extras():
    found = from_values(SAID)
    assert (found.num_blocks, found.formula_bytes_per_slot, found.max_cache_len) == (99, 256, None)
    assert found.outside_allocator_bytes == {"load.end": None}
    assert found.pss_files_bytes == {"run.end": 7}
    assert found.extras["environment"] == ["PATH"]


def test_facts_of_edges_are_the_mappings_that_begin_empty():
    empty = EngineFacts()
    mappings = [n for n in empty.__struct_fields__ if getattr(empty, n) == {}]
    assert mappings == [*AT_EDGES, "extras"]


@pytest.mark.parametrize(
    "said", [{"num_blocks": "many"}, {"pss_files_bytes.run.end": []}, {"settings": 5}]
)
def test_a_wrong_type_is_one_line(said):
    with pytest.raises(Problem, match=r"worker a: .*Expected .*got") as caught:
        from_values(said, "worker a")
    assert "\n" not in str(caught.value)
