"""A finished trace's seal: broken by a changed digit, a lost end or a file that is gone."""

import gzip
import json

import pytest

from measure.load import changed
from traces.cell import About
from traces.reader import traces_in
from traces.seal import Seal, seal

LINES = b'{"v":1,"k":"kv","t":1,"live_tokens":1234}\n'


@pytest.fixture
def cell(tmp_path):
    (tmp_path / "worker.jsonl").write_bytes(LINES)
    about = About(label="a", backend="b")
    about.sealed = {"worker.jsonl": seal(tmp_path / "worker.jsonl")}
    return tmp_path, about


def test_a_seal(cell):
    """CRC-32 of b"123456789" is 0xCBF43926 in every table of check values."""
    path = cell[0] / "nine"
    path.write_bytes(b"123456789")
    assert seal(path) == Seal(9, 0xCBF43926)


def test_as_it_was_or_gzipped(cell):
    folder, about = cell
    assert changed(about, traces_in(folder)) == []
    (folder / "worker.jsonl.gz").write_bytes(gzip.compress(LINES))
    (folder / "worker.jsonl").unlink()
    assert changed(about, traces_in(folder)) == []


@pytest.mark.parametrize(
    "now", [LINES.replace(b"1234", b"1235"), LINES[:-1], LINES + b"\n", b"", None]
)
def test_changed(cell, now):
    folder, about = cell
    (folder / "worker.jsonl").write_bytes(now or b"")
    if now is None:
        (folder / "worker.jsonl").unlink()
    assert changed(about, traces_in(folder)) == ["worker.jsonl"]


def test_a_gzip_that_breaks_off_is_changed(cell):
    folder, about = cell
    (folder / "worker.jsonl").unlink()
    (folder / "worker.jsonl.gz").write_bytes(gzip.compress(LINES)[:-6])
    assert changed(about, traces_in(folder)) == ["worker.jsonl"]


def test_without_seals_nothing_is_changed(cell):
    """As in the folder of an older run."""
    folder, _ = cell
    about = json.loads('{"label": "a", "backend": "b"}')
    assert changed(About(**about), traces_in(folder)) == []
