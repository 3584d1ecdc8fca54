"""The headline: the right pairs, the right numbers, and nobody wins who should not."""

from typing import Any

import msgspec
import pytest

from compare.fact import times
from compare.headline import headline
from compare.summary import columns
from measure.build import build
from measure.result import Cell, Parity, Result
from report.rows import rows
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
            assert cell.timing
            assert cell.timing.output_tokens_per_s
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


def test_no_factor_of_unequal_loads(result):
    """hf-sequential and hf-static did 1 request, vllm all: the shares stand, without a ratio."""
    few = [
        msgspec.structs.replace(cell, requests_run=1, output_tokens=40)
        if cell.label in ("hf-sequential", "hf-static")
        else cell
        for cell in result.cells
    ]
    (fact,) = headline(msgspec.structs.replace(result, cells=few))
    assert (fact.name, fact.ratio, fact.low, fact.high) == ("kv_efficiency", None, None, None)
    assert "no factor, since the loads differ" in fact.text
    assert "(1 request, 40 output tokens)" in fact.text
    assert "(16 requests, 642 output tokens)" in fact.text
    assert "times" not in fact.text


def test_no_factor_of_what_is_counted_otherwise(result):
    for cell in (old := msgspec.convert(msgspec.to_builtins(result), Result)).cells:
        if cell.label == "vllm":
            assert cell.kv
            cell.kv.counted = "scheduled"
    found = facts(old)
    assert found["kv_efficiency"].ratio is None
    assert "counted otherwise" in found["kv_efficiency"].text
    assert found["output_tokens_per_s"].ratio


def test_a_fact_names_the_setting_that_sets_it(result):
    """A static cache of `max_length` holds that much: the efficiency's factor is the setting's."""
    suite = {**result.suite, "max_length": 512}
    told = facts(msgspec.structs.replace(result, suite=suite))
    assert "max_length 512 sets this" in told["kv_efficiency"].text
    assert "max_length" not in told["output_tokens_per_s"].text
    cells = [msgspec.structs.replace(cell, engine={"batch": 1}) for cell in result.cells]
    told = facts(msgspec.structs.replace(result, suite=suite, cells=cells))
    assert "its batch size of 1 sets this" in told["peak_running"].text
    assert "hf-sequential runs 1 at a time" in told["output_tokens_per_s"].text
    assert all("kernels and batching differ" in fact.text for fact in told.values())
    budget = {**suite, "kv_budget": "8GiB"}
    told = facts(msgspec.structs.replace(result, suite=budget, cells=cells))
    assert "max_length 512 sets this" in told["peak_running"].text


def test_a_ratio_of_single_runs_has_two_digits(result):
    """399.1 of one run each is 400 times as much; of five each, 399 with its interval."""
    assert (times(399.1, 2), times(399.1), times(1 / 15.27, 2)) == (
        "400 times as much", "399 times as much", "15 times less",
    )  # fmt: skip
    told = facts(result)["output_tokens_per_s"].text
    assert "one run each" in told
    assert "one run each" not in facts(repeated(result, [0.99, 1.0]))["output_tokens_per_s"].text
    (shown,) = (row for row in rows(columns(result)) if row.name == "speed_up")
    assert all(len(cell.strip("x0").replace(".", "").lstrip("0")) <= 2 for cell in shown.cells)


def test_the_same_engine_that_reserves_is_what_paging_is_set_against(result):
    """vllm with a policy: every factor of it is against itself, but one, the baseline's."""
    vllm = next(cell for cell in result.cells if cell.label == "vllm")
    assert vllm.kv
    kv = msgspec.structs.replace(vllm.kv, efficiency=0.1, peak_running=2)
    reserving = msgspec.structs.replace(
        vllm, label="vllm reserve-max", options={"policy": "reserve-max"}, kv=kv
    )
    cells = [reserving, *result.cells]
    suite = {**result.suite, "max_length": 512}
    found = headline(msgspec.structs.replace(result, cells=cells, suite=suite))
    assert [(fact.name, fact.against) for fact in found] == [
        ("kv_efficiency", "vllm reserve-max"),
        ("kv_bytes_per_live_token", "vllm reserve-max"),
        ("output_tokens_per_s", "vllm reserve-max"),
        ("peak_running", "vllm reserve-max"),
        ("output_tokens_per_s", "hf-sequential"),
    ]
    assert {fact.label for fact in found} == {"vllm"}
    for fact in found[:4]:
        assert "max_length 512 and the KV pool's size set this" in fact.text
        assert "besides paging, nothing differs" in fact.text
    assert "besides paging, engine, kernels and batching differ" in found[4].text
    assert found[3].ratio == 4  # 8 in flight against 2
