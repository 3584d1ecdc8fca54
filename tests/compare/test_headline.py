"""The headline: the right pairs, the right numbers, and nobody wins who should not."""

from typing import Any

import msgspec
import pytest

from compare.headline import headline
from compare.summary import columns
from measure.build import build
from measure.result import Cell, Parity, Result
from tests.measure import simulate
from tests.measure.folder import Folder, meta


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    folder = simulate.run_folder(Folder(tmp_path_factory.mktemp("run")))
    return build(folder.path, meta())


def facts(result: Result) -> dict[str, Any]:
    return {fact.name: fact for fact in headline(result)}


def repeated(result: Result, factors: list[float]) -> Result:
    """Every cell once per factor, its throughput multiplied by it."""
    cells: list[Cell] = []
    for cell in result.cells:
        for repeat, factor in enumerate(factors):
            assert cell.timing is not None
            speed = cell.timing.output_tokens_per_s * factor
            timing = msgspec.structs.replace(cell.timing, output_tokens_per_s=speed)
            cells.append(msgspec.structs.replace(cell, repeat=repeat, timing=timing))
    return msgspec.structs.replace(result, cells=cells)


def test_paged_is_set_against_the_reservation_and_the_baseline(result):
    found = facts(result)
    cells = {cell.label: cell for cell in result.cells}
    efficiency = found["kv_efficiency"]
    assert (efficiency.label, efficiency.against) == ("vllm", "hf-static")
    ratio = cells["vllm"].kv.efficiency / cells["hf-static"].kv.efficiency
    assert efficiency.ratio == pytest.approx(ratio)
    speed = found["output_tokens_per_s"]
    assert speed.against == "hf-sequential"
    assert speed.ratio == pytest.approx(
        next(column.values["speed_up"] for column in columns(result) if column.label == "vllm")
    )
    assert found["kv_bytes_per_live_token"].ratio == pytest.approx(1 / ratio)
    assert (found["peak_running"].value, found["peak_running"].reference) == (8, 1)


def test_one_run_gives_no_interval_and_five_do(result):
    assert facts(result)["output_tokens_per_s"].low is None
    fact = facts(repeated(result, [0.99, 1.0, 1.01, 1.0, 1.0]))["output_tokens_per_s"]
    assert fact.low < fact.ratio < fact.high
    assert fact.repeats == 5
    assert "95 % interval" in fact.text


def test_a_backend_that_fails_parity_cannot_win(result):
    parity = Parity(verdict="fail", method="exact", reference="x", identical=0, compared=1)
    cells = [
        msgspec.structs.replace(cell, parity=parity if cell.label == "vllm" else None)
        for cell in result.cells
    ]
    assert headline(msgspec.structs.replace(result, cells=cells)) == []


def test_without_a_traditional_backend_facts_stand_alone(result):
    only = [cell for cell in result.cells if cell.label == "vllm"]
    found = facts(msgspec.structs.replace(result, cells=only))
    assert found["kv_efficiency"].against is None
    assert found["kv_efficiency"].value == pytest.approx(only[0].kv.efficiency)


def test_failed_cells_are_no_numbers(result):
    failed = [msgspec.structs.replace(cell, status="oom") for cell in result.cells]
    assert headline(msgspec.structs.replace(result, cells=failed)) == []
