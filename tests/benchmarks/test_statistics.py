"""How often a diff is wrong about recorded repeats: 16 of `seed` on two quiet CPU cores.

Made by `pagedbench run --suite seed --backend hf-sequential --backend vllm --repeats 16`.
"""

from pathlib import Path

import pytest

from benchmarks import statistics

REPEATS = Path(__file__).parents[1] / "data" / "repeats-cpu.json"
PAIRS = 200


@pytest.fixture(scope="module")
def recorded():
    return statistics.load(REPEATS)


def test_the_same_code_is_hardly_ever_accused(recorded):
    assert [line for line in statistics.alarms(recorded, PAIRS) if not line.good] == []


def test_planted_changes_are_found(recorded):
    assert [line for line in statistics.found(recorded, PAIRS) if not line.good] == []
