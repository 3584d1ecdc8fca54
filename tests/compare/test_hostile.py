"""Whatever stands in a result.json, `diff` says one line about it and exits with 2."""

import json

import pytest

from measure.result import SCHEMA_VERSION

NOW = f'"schema": {SCHEMA_VERSION}'.encode()
DEEP = b'{"schema": 1, "suite": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001


def good(folder):
    return (folder / "result.json").read_bytes()


CASES = {
    "empty": lambda raw: b"",
    "truncated": lambda raw: raw[: len(raw) // 2],
    "torn at the end": lambda raw: raw[:-3],
    "not JSON": lambda raw: b"\x7fELF\x02\x01",
    "not UTF-8": lambda raw: raw.replace(b"seed", b"\xff\xfe\xfd\xfc"),
    "foreign": lambda raw: b'{"benchmarks": []}',
    "a list": lambda raw: b"[1, 2, 3]",
    "newer": lambda raw: raw.replace(NOW, f'"schema": {SCHEMA_VERSION + 1}'.encode(), 1),
    "schema 0": lambda raw: raw.replace(NOW, b'"schema": 0', 1),
    "older, without its cells": lambda raw: raw.replace(NOW, b'"schema": 1', 1).replace(
        b'"cells": [', b'"cells": 1, "old": [', 1
    ),
    "older, with cells that are none": lambda raw: raw.replace(NOW, b'"schema": 1', 1).replace(
        b'"cells": [', b'"cells": [1, {"kv": 2}, ', 1
    ),
    "10,000 deep": lambda raw: DEEP,
    "100,000 open lists": lambda raw: b'{"schema": 1, "suite": ' + b"[" * 100_000,
    "NaN": lambda raw: raw.replace(b'"wall": 1', b'"wall": NaN, "x": 1', 1),
    "Infinity": lambda raw: raw.replace(b'"wall": 1', b'"wall": Infinity, "x": 1', 1),
    "a key twice": lambda raw: raw.replace(b'"dtype":', b'"dtype": "float32", "dtype":', 1),
    "a count that is a text": lambda raw: raw.replace(b'"steps": 256', b'"steps": "many"', 1),
    "an unknown status": lambda raw: raw.replace(b'"status": "ok"', b'"status": "great"', 1),
    "half a surrogate": lambda raw: raw.replace(b'"seed"', b'"\\ud800"'),
    "a number without end": lambda raw: raw.replace(
        b'"peak_reserved": 242', b'"peak_reserved": 1' + b"0" * 400
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_2(pagedbench, stored, tmp_path, case):
    base = stored("base")
    raw = CASES[case](good(base))
    assert raw != good(base)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "result.json").write_bytes(raw)
    for pair in ((base, bad), (bad, base)):
        done = pagedbench("diff", *pair)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith("pagedbench: ")
        assert len(done.err) < 500


def test_a_gigabyte_is_not_read(pagedbench, stored, tmp_path):
    huge = tmp_path / "huge.json"
    with huge.open("wb") as stream:
        stream.write(b'{"schema": 1, "dtype": "')
        stream.truncate(1 << 30)
    done = pagedbench("diff", stored("base"), huge)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "larger than" in done.err


@pytest.mark.parametrize(
    "name", ["../../etc", "-x", "--upload-pack=touch", "no such", "", "HEAD~999"]
)
def test_names_that_lead_nowhere(pagedbench, stored, name):
    done = pagedbench("diff", "--", name, stored("base"))
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_names_within_a_result_lead_nowhere_either(pagedbench, stored, tmp_path):
    raw = json.loads(good(stored("plain")))
    raw["suite"]["name"] = "../../../outside"
    for cell in raw["cells"]:
        cell["label"] = f"../../{cell['label']}"
    folder = tmp_path / "results" / "one"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(raw))
    before = {path for path in tmp_path.rglob("*") if "results" not in path.parts}
    assert pagedbench("diff", folder, folder).code == 0
    assert pagedbench("trend", "--results", folder.parent).code == 0
    assert pagedbench("export", folder, "--format", "csv").code == 0
    assert {path for path in tmp_path.rglob("*") if "results" not in path.parts} == before
