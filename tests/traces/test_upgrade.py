"""Traces of format 1 are read as one group, one rank."""

import time

import pytest

from traces.errors import Problem
from traces.layout import CacheGroup, Layout, Rank
from traces.reader import Damage, read
from traces.records import Alloc, Facts, Kv, LaidOut, Phase, Slots
from traces.writer import Writer

HEADER = (
    b'{"v":1,"k":"header","t":1,"clock":"CLOCK_MONOTONIC","boot_id":"b","wall_ns":2,"host":"h",'
    b'"pid":3,"writer":"w"}\n'
)
KV = (
    b'{"v":1,"k":"kv","t":7,"step":3,"live_tokens":26,"reserved_slots":48,"pool_slots":160,'
    b'"pad_slots":1,"ahead_tokens":2,"shared_slots":16,"running":4,"waiting":5,"preempted":6}\n'
)


def facts(t, values):
    return b'{"v":1,"k":"facts","t":%d,"values":{%s}}\n' % (t, values)


@pytest.fixture
def upgraded(tmp_path):
    """The records after the header of a trace of format 1."""

    def records(*lines):
        path = tmp_path / "trace.jsonl"
        path.write_bytes(b"".join([HEADER, *lines]))
        return list(read(path))[1:]

    return records


def test_counts_are_those_of_the_only_group(upgraded):
    assert upgraded(KV) == [
        Kv(t=7, step=3, groups=[Slots(held=48, stored=26, shared=16, pad=1, ahead=2)], pool=160,
           running=4, waiting=5, preempted=6)
    ]  # fmt: skip


def test_sizes_among_the_facts_are_the_layout(upgraded):
    """Blocks of 16 tokens of 256 bytes are 4,096; what is not known stays null."""
    sizes = b'"kv_layout":"paged","block_size":16,"bytes_per_slot":256,"pool_bytes":8192,'
    rest = b'"weights_bytes":7,"graph_bytes":2,"context_bytes":null,"num_blocks":1,"mine":5'
    assert upgraded(facts(9, sizes + rest)) == [
        LaidOut(t=9, layout=Layout(
            kind="paged",
            groups=[CacheGroup(block_tokens=16, bytes_per_token=256, bytes_per_block=4096)],
            ranks=[Rank(weights_bytes=7, pool_bytes=8192, graph_bytes=2)],
        )),
        Facts(t=9, values={"num_blocks": 1, "mine": 5}),
    ]  # fmt: skip


def test_of_sizes_that_were_said_twice_the_later_ones_win(upgraded):
    first, later = b'"weights_bytes":7,"kv_layout":"static"', b'"weights_bytes":8'
    records = upgraded(facts(1, first), facts(2, later), facts(3, b'"batch":1'))
    layouts = [record.layout for record in records if isinstance(record, LaidOut)]
    assert layouts[-1] == Layout(kind="static", ranks=[Rank(weights_bytes=8)])
    assert len(layouts) == 2  # nothing new is said by the last


def test_all_else_is_as_it_was(upgraded):
    phase = b'{"v":1,"k":"phase","t":7,"name":"run","edge":"begin"}\n'
    alloc = (
        b'{"v":1,"k":"alloc","t":8,"where":"load.end","allocated":1,"reserved":2,'
        b'"inactive_split":null}\n'
    )
    assert upgraded(phase, alloc) == [
        Phase(t=7, name="run", edge="begin"),
        Alloc(t=8, where="load.end", device=0, allocated=1, reserved=2, inactive_split=None),
    ]


def test_a_size_that_is_none_is_one_line(upgraded):
    with pytest.raises(Problem, match=r"trace\.jsonl: .*bytes_per_slot") as caught:
        upgraded(facts(9, b'"bytes_per_slot":"many"'))
    assert "\n" not in str(caught.value)


def test_todays_counts_in_an_old_trace_are_damage(tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(HEADER + KV.replace(b'"live_tokens":26,', b'"groups":[[1,1,0,0,0]],'))
    damage = Damage()
    assert len(list(read(path, damage))) == 1
    assert damage.bad == 1


def test_reading_an_old_trace_is_not_much_slower(tmp_path):
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_bytes(HEADER + KV * 50_000)
    with Writer(new, "test") as writer:
        for _ in range(50_000):
            writer.write(Kv(t=7, step=3, groups=[Slots(48, 26, 16, 1, 2)], pool=160, running=4,
                            waiting=5, preempted=6))  # fmt: skip

    def seconds(path):
        begun = time.process_time()
        for _ in read(path):
            pass
        return time.process_time() - begun

    assert min(seconds(old) for _ in range(3)) < 2.5 * min(seconds(new) for _ in range(3))
