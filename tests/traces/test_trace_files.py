"""What is written is read back; what is damaged is counted; what is not ours is refused."""

import gzip
import json
import os
import time
import tracemalloc
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traces import clock
from traces.errors import Problem
from traces.reader import Damage, TraceError, kept, read, traces_in
from traces.records import FORMAT_VERSION, AnyRecord, Facts, Header, Kv, Phase, Request, Slots
from traces.writer import Writer

HEADER = (
    b'{"v":2,"k":"header","t":1,"clock":"CLOCK_MONOTONIC","boot_id":"b","wall_ns":2,"host":"h",'
    b'"pid":3,"writer":"w"}\n'
)
PHASE = b'{"v":2,"k":"phase","t":7,"name":"run","edge":"begin"}\n'
KINDS = AnyRecord.__args__

numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
SIMPLE = {
    int: numbers,
    str: texts,
    float: st.floats(-1e300, 1e300),
    NoneType: st.none(),
    Any: values,
}


def record_of(kind):
    """A strategy for records of one kind, from its fields' types."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{f.name: value_of(f.type) for f in fields if f.name != "format"})


def value_of(kind):
    if kind in SIMPLE:
        return SIMPLE[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return record_of(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    parts = [value_of(part) for part in get_args(kind)]
    if get_origin(kind) is dict:
        return st.dictionaries(*parts, max_size=2)
    if get_origin(kind) is list:
        return st.lists(*parts, max_size=3)
    return st.one_of(parts)


@pytest.fixture
def file(tmp_path):
    """Write a trace by hand; return its path."""

    def write(*lines):
        path = tmp_path / "trace.jsonl"
        path.write_bytes(b"".join(lines))
        return path

    return write


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__struct_config__.tag)
def test_every_kind_of_record_comes_back_as_it_was(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trace")

    @settings(max_examples=25, deadline=None)
    @given(st.lists(record_of(kind), min_size=1, max_size=3))
    def check(records):
        path = folder / "trace.jsonl"
        path.unlink(missing_ok=True)
        with Writer(path, "test") as writer:
            for record in records:
                writer.write(record)
        damage = Damage()
        header, *found = read(path, damage)
        assert isinstance(header, Header)
        assert found == records
        assert damage == Damage()
        assert path.read_bytes().count(b"\n") == len(records) + 1

    check()


def test_a_line_says_version_kind_and_time_first(tmp_path):
    with Writer(tmp_path / "t.jsonl", "test", {"cell": "a"}) as writer:
        writer.write(Phase(t=5, name="run", edge="end"))
    header, phase = (tmp_path / "t.jsonl").read_bytes().splitlines()
    assert phase == b'{"v":2,"k":"phase","t":5,"name":"run","edge":"end"}'
    first = json.loads(header)
    assert list(first)[:3] == ["v", "k", "t"]
    assert (first["v"], first["k"], first["clock"]) == (FORMAT_VERSION, "header", "CLOCK_MONOTONIC")
    assert (first["pid"], first["writer"], first["meta"]) == (os.getpid(), "test", {"cell": "a"})
    assert first["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_one_instant_read_on_both_clocks(tmp_path):
    before = time.monotonic_ns(), time.time_ns()
    monotonic, wall = clock.paired()
    after = time.monotonic_ns(), time.time_ns()
    assert before[0] <= monotonic <= after[0]
    assert before[1] <= wall <= after[1]


def test_an_existing_file_is_not_written_over(file):
    path = file(HEADER)
    with pytest.raises(FileExistsError):
        Writer(path, "test")
    assert path.read_bytes() == HEADER


def test_a_null_keeps_its_reason(tmp_path):
    path = tmp_path / "t.jsonl"
    request = Request(
        t=1, why={"first": "not asked for"}, id="a", prompt_tokens=1, output_tokens=0, arrive=0,
        start=None, first=None, last=None, token_ids=[], token_ids_sha256="",
    )  # fmt: skip
    with Writer(path, "test") as writer:
        writer.write(request)
    assert json.loads(path.read_bytes().splitlines()[1])["first"] is None
    assert list(read(path))[1] == request


def test_a_torn_last_line_is_said_and_the_rest_is_kept(file):
    whole = HEADER + PHASE * 3
    for cut in range(1, len(PHASE)):
        damage = Damage()
        records = list(read(file(whole[:-cut]), damage))
        lost = cut > 1  # without its newline the line is whole all the same
        assert len(records) == 4 - lost
        assert damage == Damage(bad=0, torn=lost)


@pytest.mark.parametrize(
    "line",
    [
        b"\n", b"{}\n", b"null\n", b"[]\n", b"\x00\x00\n", b"\xff\xfe\n", b"{\n", b'"\\ud800"\n',
        b'{"v":2,"k":"no such kind","t":1}\n', b'{"v":2,"t":1}\n', b'{"v":2,"k":["phase"],"t":1}\n',
        b'{"v":2,"k":"phase","t":"now","name":"run","edge":"end"}\n',
        b'{"v":2,"k":"phase","t":1}\n', b'{"v":2,"k":"phase","t":1e999,"name":"","edge":""}\n',
        b'{"v":2,"k":"facts","t":1,"values":' + b"[" * 100_000 + b"\n", b"9" * 100_000 + b"\n",
        b'{"v":2,"k":"phase","t":1,"name":"\xed\xa0\x80","edge":""}\n',
    ],
)  # fmt: skip
def test_a_bad_line_is_counted_and_the_good_ones_around_it_kept(file, line):
    damage = Damage()
    records = list(read(file(HEADER, PHASE, line, PHASE), damage))
    assert [type(record) for record in records] == [Header, Phase, Phase]
    assert damage == Damage(bad=1, torn=False)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(tmp_path_factory, junk):
    path = tmp_path_factory.getbasetemp() / "junk.jsonl"
    path.write_bytes(HEADER + PHASE + b"\n" + junk + b"\n" + PHASE)
    records = list(read(path, Damage()))
    assert [type(record) for record in records[:2]] == [Header, Phase]
    assert isinstance(records[-1], Phase)


def test_a_line_without_end_is_damage_not_memory(file, monkeypatch):
    monkeypatch.setattr("traces.reader.MAX_LINE", 1000)
    damage = Damage()
    records = list(read(file(HEADER, b"x" * 5500 + b"\n", PHASE), damage))
    assert isinstance(records[-1], Phase)
    assert damage.bad >= 1


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (b"", "no header line"),
        (b"\n", "no header line"),
        (b"PNG\x89\n", "no header line"),
        (b"[" * 100_000, "no header line"),
        (PHASE, "first line: 'phase'"),
        (HEADER.replace(b'"pid":3,', b""), "first line: 'header'"),
        (HEADER.replace(b'"v":2', b'"v":3'), "trace format 3, this pagedbench reads 2 and older"),
        (HEADER.replace(b'"v":2', b'"v":0'), "trace format 0, this pagedbench reads 2 and older"),
        (HEADER.replace(b'"v":2', b'"v":"1"'), "no header line"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_in_one_line(file, first, says):
    with pytest.raises(TraceError) as refused:
        list(read(file(first)))
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2
    assert isinstance(refused.value, Problem)


def test_fields_of_a_newer_writer_are_passed_over(file):
    line = PHASE.replace(b'"t":7', b'"t":7,"added_later":{"x":1}')
    assert list(read(file(HEADER, line)))[1] == Phase(t=7, name="run", edge="begin")


def test_reading_takes_little_memory_whatever_the_size(tmp_path):
    path = tmp_path / "t.jsonl"
    with Writer(path, "test") as writer:
        for step in range(20_000):
            writer.write(Kv(t=step, step=step, groups=[Slots(2, 1)], pool=3, running=1))
    tracemalloc.start()
    count = sum(1 for _ in read(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_001
    assert peak < path.stat().st_size / 3


def test_facts_may_hold_anything(tmp_path):
    path = tmp_path / "t.jsonl"
    values = {"a": [1, {"b": None}], "text": 'line\nbreak "quote" \u2028 \U0001f642'}
    with Writer(path, "test") as writer:
        writer.write(Facts(t=1, values=values))
    assert list(read(path))[1] == Facts(t=1, values=values)
    assert path.read_bytes().count(b"\n") == 2


@pytest.fixture
def packed(tmp_path):
    """Write a gzipped trace by hand; return its path."""

    def write(*lines, cut=None):
        path = tmp_path / "worker.jsonl.gz"
        path.write_bytes(gzip.compress(b"".join(lines))[:cut])
        return path

    return write


def test_a_gzipped_trace_reads_as_the_plain_one(file, packed):
    lines = (HEADER, PHASE, b"garbage\n", PHASE, PHASE[:-9])
    plain, gzipped = Damage(), Damage()
    assert list(read(packed(*lines), gzipped)) == list(read(file(*lines), plain))
    assert gzipped == plain == Damage(bad=1, torn=True)


def test_a_gzip_that_breaks_off_is_damage_and_what_came_before_is_kept(packed):
    rest = b"".join(PHASE.replace(b"7", b"%d" % n) for n in range(20_000))
    path, damage = packed(HEADER, rest), Damage()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    records = list(read(path, damage))
    assert [record.t for record in records[1:]] == list(range(len(records) - 1))
    assert 5_000 < len(records) < 20_000
    assert damage == Damage(bad=1, torn=True)


@pytest.mark.parametrize("raw", [b"no gzip\n", b"\x1f\x8b\x08", gzip.compress(HEADER)[:-20]])
def test_a_gzip_without_a_header_is_refused_in_one_line(tmp_path, raw):
    path = tmp_path / "worker.jsonl.gz"
    path.write_bytes(raw)
    assert traces_in(tmp_path) == [path]
    with pytest.raises(TraceError, match="no header line"):
        list(read(path))


def test_a_trace_is_found_once_gzipped_or_not(file, packed, tmp_path):
    gzipped = packed(HEADER, PHASE)
    assert traces_in(tmp_path) == [gzipped] == [kept(tmp_path / "worker.jsonl")]
    plain = tmp_path / "worker.jsonl"
    plain.write_bytes(HEADER)
    (tmp_path / "worker.jsonl.orig").write_bytes(HEADER)
    assert traces_in(tmp_path) == [plain] == [kept(plain)]
    assert traces_in(tmp_path, "engine") == []


def test_an_empty_trace_holds_nothing_gzipped_either(file, packed, tmp_path):
    packed()
    file()
    assert traces_in(tmp_path) == []
