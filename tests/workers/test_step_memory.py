"""The allocator at each step of a contiguous cache, as on a GPU: torch is a double here."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from measure.edges import phase_ends
from measure.kv import summarize
from measure.ledger import close_ledger
from measure.merge import merge
from tests.workers.plans import prompts
from traces.layout import CacheGroup, Layout
from traces.reader import read
from traces.records import Alloc, Phase
from traces.writer import Writer
from workers.backend import Recorder
from workers.hf_rows import RowSteps
from workers.torch_memory import step

PIECES = [0, 700, 700, 300]  # inactive split bytes at the end of each step


@pytest.fixture
def torch(monkeypatch):
    """The parts of torch.cuda that are used, with counters that the test sets.

    Each step needs 700 bytes for a moment: its peak, until that is started anew.
    """
    state = SimpleNamespace(allocated=5000, reserved=9000, inactive_split=0)
    kept = {"peak": 700}

    def stats():
        every = {f"{name}_bytes": {"all": {"current": size, "peak": size + kept["peak"]},
                                   "small_pool": {}}
                 for name, size in vars(state).items()}  # fmt: skip
        kept["peak"] += 700  # of whoever does not start it anew
        return every | {"num_ooms": 0, "segment": {"all": {"current": 3}}}

    cuda = SimpleNamespace(
        synchronize=lambda: None, memory_stats_as_nested_dict=stats,
        reset_peak_memory_stats=lambda: kept.update(peak=700),
    )  # fmt: skip
    double = SimpleNamespace(cuda=cuda, tensor=lambda values, device: np.array(values))
    monkeypatch.setitem(sys.modules, "torch", double)
    return state


def record(path, state, record_kv=True):
    """Four steps of one request on a cache that grows; return all records."""
    request = prompts([(10, len(PIECES))])
    with Writer(path, "test") as writer:
        recorder = Recorder(writer, record_kv)
        worker = SimpleNamespace(job=SimpleNamespace(device="cuda"), recorder=recorder)
        cache = SimpleNamespace(layers=[SimpleNamespace(keys=None)])
        steps = RowSteps(worker, cache, request, [len(PIECES)], lambda came: False)  # type: ignore[arg-type]
        writer.write(Phase(t=steps.start, name="run", edge="begin"))
        for stored, pieces in enumerate(PIECES, start=10):
            cache.layers[0].keys = np.zeros((1, 2, stored, 4))
            cache.get_seq_length = lambda stored=stored: stored
            state.inactive_split = pieces
            steps(np.zeros((1, stored)), None)
        writer.write(Phase(t=steps.now, name="run", edge="end"))
        recorder.layout(Layout(kind="dynamic", groups=[CacheGroup(bytes_per_token=100)]))
    return list(read(path))


def test_only_changes_are_written(tmp_path, torch):
    found = [r for r in record(tmp_path / "t.jsonl", torch) if isinstance(r, Alloc)]
    assert [a.inactive_split for a in found] == [0, 700, 300]
    assert {(a.where, a.allocated, a.reserved) for a in found} == {("step", 5000, 9000)}


def test_the_peak_is_that_of_each_step(tmp_path, torch):
    found = [r for r in record(tmp_path / "t.jsonl", torch) if isinstance(r, Alloc)]
    assert {(a.peak_allocated, a.peak_reserved) for a in found} == {(5700, 9700)}


def test_external_waste_is_measured(tmp_path, torch):
    timeline = merge(record(tmp_path / "t.jsonl", torch))
    summary = summarize(timeline)
    assert summary is not None
    share = summary.waste["external"]
    lasted = np.diff(timeline.kv.times(), append=timeline.phases["run"].end or 0)
    held = lasted @ np.array([10, 11, 12, 13]) * 100
    assert share.how == "measured"
    assert share.value == pytest.approx(lasted @ np.array(PIECES) / held)


def test_the_ledger_and_the_edges_take_none_of_it(tmp_path, torch):
    timeline = merge(record(tmp_path / "t.jsonl", torch))
    assert timeline.alloc == []
    assert phase_ends(timeline, timeline.seen.used()) == []
    assert close_ledger(timeline, 0) is None  # nobody watched the device


def test_without_kv_records_there_is_none(tmp_path, torch):
    found = record(tmp_path / "t.jsonl", torch, record_kv=False)
    assert not [r for r in found if isinstance(r, Alloc)]


def test_without_a_gpu_nothing_is_asked():
    assert step("cpu") == {}
