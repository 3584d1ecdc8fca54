"""result.json: the same bytes for the same result, and one line for anything that is not ours."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure import canonical, schema
from measure.build import build
from measure.result import SCHEMA_VERSION, Result
from tests.measure.folder import Folder, contiguous, meta, paged
from traces.errors import Problem
from traces.layout import CacheGroup, Layout, Rank

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    folder = Folder(tmp_path_factory.mktemp("run"))
    folder.cell("hf-static", contiguous())
    folder.cell("vllm", paged())
    return build(folder.path, meta())


def changed(result: Result, **fields: Any) -> bytes:
    """The result's JSON with top-level fields replaced."""
    return json.dumps({**json.loads(canonical.dumps(result)), **fields}).encode()


def test_round_trip_gives_the_same_bytes(result):
    data = canonical.dumps(result)
    assert canonical.dumps(canonical.loads(data)) == data


def test_volatile_is_last_and_the_rest_in_stable_order(result):
    decoded = json.loads(canonical.dumps(result))
    assert next(iter(decoded)) == "schema"
    assert list(decoded)[-1] == "volatile"
    assert list(decoded["environment"]) == sorted(decoded["environment"])
    turned = msgspec.structs.replace(result, environment={"b": 1, "a": {"d": 2, "c": 3}})
    straight = msgspec.structs.replace(result, environment={"a": {"c": 3, "d": 2}, "b": 1})
    assert canonical.dumps(turned) == canonical.dumps(straight)


def test_measured_numbers_are_rounded_and_settings_are_not(result):
    result = msgspec.structs.replace(result, suite={"factor": 0.123456789})
    result.cells[0].timing.wall = 1.23456789
    decoded = json.loads(canonical.dumps(result))
    assert decoded["cells"][0]["timing"]["wall"] == 1.23457
    assert decoded["suite"]["factor"] == 0.123456789


def test_what_is_no_number_becomes_null(result):
    result = msgspec.structs.replace(result, sampler={"rate_hz": float("nan"), "x": float("inf")})
    assert json.loads(canonical.dumps(result))["sampler"] == {"rate_hz": None, "x": None}


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_environment_is_written_so_that_it_reads_back(value):
    plain = canonical._plain({"value": value}, exact=True)
    again = canonical._plain(json.loads(msgspec.json.encode(plain)), exact=True)
    assert msgspec.json.encode(again) == msgspec.json.encode(plain)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a pagedbench result"),
        (b"null", "not a pagedbench result"),
        (b'{"schema":1}', "missing required field"),
        (b'{"schema":2}', "missing required field"),
        (b'{"schema":99}', "upgrade"),
        (b'{"schema":0}', "never existed"),
        (b'{"schema":"1"}', "Expected `int`"),
        (b'{"schema":1,"volatile":{"x":NaN}}', "not a pagedbench result"),
        (b'{"schema":1,"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "not a pagedbench result"),
        (b'{"schema":1,"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, "not a pagedbench result"),
        (b'{"schema":1,"x":"\xff"}', "not a pagedbench result"),
        (b'{"schema":1,"x":1e999}', "not a pagedbench result"),
    ],
)
def test_hostile_input_is_one_line(data, reason):
    with pytest.raises(Problem, match=reason) as caught:
        canonical.loads(data)
    assert "\n" not in str(caught.value)


def test_a_key_given_twice_is_refused(result):
    data = canonical.dumps(result).replace(b'"dtype"', b'"dtype": "float16", "dtype"', 1)
    assert json.loads(data)["dtype"] == "float32"
    with pytest.raises(Problem, match="given twice"):
        canonical.loads(data)


def test_colons_and_quotes_in_text_are_not_keys(result):
    tricky = 'a":"b\\": {"c": 1} \\\\"'
    result = msgspec.structs.replace(result, dtype=tricky)
    assert canonical.loads(canonical.dumps(result)).dtype == tricky


def test_wrong_types_name_the_place(result):
    with pytest.raises(Problem, match=r"cells\[0\]"):
        canonical.loads(changed(result, cells=[{"label": 1}]))


def test_a_file_too_large_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(canonical, "MAX_BYTES", 99)
    with pytest.raises(Problem, match="larger than"):
        canonical.loads(path)


def test_a_result_of_the_first_version_is_read():
    path = Path(__file__).parent / "result-v1.json"
    found = canonical.loads(path)
    assert found.schema == SCHEMA_VERSION
    assert [cell.kv and cell.kv.step_efficiency for cell in found.cells] == [None, None]
    assert [cell.kv and cell.kv.efficiency for cell in found.cells] == [0.75, None]
    again = canonical.loads(canonical.dumps(found))
    assert again == found


@pytest.mark.parametrize(("baseline", "end"), [(30, 70), (0, 100), ("many", None)])
def test_device_bytes_of_the_second_version_are_brought_above_the_baseline(result, baseline, end):
    """100 bytes at the end of a phase, 30 of which were there before."""
    plain = json.loads(canonical.dumps(result)) | {"schema": 2}
    ledger = {"against": "nvml", "total": 70, "lines": [], "residual": 70, "flagged": True}
    plain["cells"][0] |= {"ledger": ledger | {"baseline": baseline}, "device_after": 100}
    plain["cells"][0]["phases"][0] |= {"device_end": 100}
    if end is None:
        with pytest.raises(Problem, match="Expected `int`"):
            canonical.loads(json.dumps(plain).encode())
    else:
        cell = canonical.loads(json.dumps(plain).encode()).cells[0]
        assert (cell.phases[0].device_end, cell.phases[0].device_peak) == (end, None)
        assert cell.device_after == end


def test_sizes_of_the_third_version_are_the_layout_of_one_group_on_one_rank(result):
    """Blocks of 16 slots of 256 bytes: 4,096 each."""
    plain = json.loads(canonical.dumps(result)) | {"schema": 3}
    sizes = {"kv_layout": "paged", "block_size": 16, "bytes_per_slot": 256, "pool_bytes": 8192}
    first, *others = plain["cells"]
    for cell in plain["cells"]:
        del cell["layout"]
    first["engine"] = {**sizes, "weights_bytes": 7, "num_blocks": 1}
    for cell in others:
        cell["engine"] = {"num_blocks": 1}
    found, *rest = canonical.loads(json.dumps(plain).encode()).cells
    assert found.layout == Layout(
        kind="paged", ranks=[Rank(weights_bytes=7, pool_bytes=8192)],
        groups=[CacheGroup(bytes_per_token=256, block_tokens=16, bytes_per_block=4096)],
    )  # fmt: skip
    assert found.engine == {"num_blocks": 1}
    assert {cell.layout for cell in rest} == {None}
    first["engine"] = {"pool_bytes": "much"}
    with pytest.raises(Problem, match=r"Expected `int \| null`, got `str` - at `\$.pool_bytes`"):
        canonical.loads(json.dumps(plain).encode())


def test_every_older_version_can_be_read():
    assert list(canonical.UPGRADES) == list(range(1, SCHEMA_VERSION))


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(Problem, match="No such file"):
        canonical.loads(tmp_path / "result.json")


def test_the_published_schema_is_current():
    published = (ROOT / "docs" / "result.schema.json").read_bytes()
    assert published == schema.text(), "python -m measure.schema > docs/result.schema.json"


def test_a_result_is_valid_by_the_schema(result):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(json.loads(canonical.dumps(result)), schema.schema())
