"""What the workers write and measure with: ids, tensors, device bytes, and one file for threads."""

import threading
from types import SimpleNamespace

import pytest

from tests.workers.test_paged_view import Storage
from traces.facts import EngineFacts, to_values
from traces.job import Prompt
from traces.layout import Rank
from traces.reader import Damage, read
from traces.records import Kv, Request, Slots
from traces.writer import Writer
from workers import torch_memory
from workers.backend import Recorder
from workers.ids import sha256
from workers.vllm_probe import _flat

GOLDEN = "78cc6701475de0a18d333234570e8c10514977767d8c7a4172242f09b761db43"


def test_ids_are_hashed_as_little_endian_int32():
    """Golden: printf '\\x01\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x80\\xbf\\x00\\x00' | sha256sum."""
    assert sha256([1, 2, 49024]) == GOLDEN
    assert sha256([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize(
    ("caches", "flat"),
    [
        ([], []),
        (["k0", "k1"], ["k0", "k1"]),
        ([["k0", "v0"], ("k1", "v1")], ["k0", "v0", "k1", "v1"]),
        ({"layer.0": "k0", "layer.1": ["k1", {"v": "v1"}]}, ["k0", "k1", "v1"]),
        ((["k0"], []), ["k0"]),
    ],
)
def test_caches_of_any_nesting_are_flattened(caches, flat):
    assert _flat(caches) == flat


def test_a_storage_counts_once():
    tensors = [Storage(1, 100), Storage(2, 50), Storage(1, 100)]
    assert torch_memory.tensor_bytes(tensors) == 150
    assert torch_memory.tensor_bytes([]) == 0


def test_context_is_taken_once_warm_and_without_the_graphs():
    facts, rank = EngineFacts(graph_driver_bytes=30, graph_pool_bytes=5), Rank()
    torch_memory.note_outside(facts, rank, "load.end", 100)
    assert rank == Rank()
    torch_memory.note_outside(facts, rank, "warmup.end", 100)
    assert facts.outside_allocator_bytes == {"load.end": 100, "warmup.end": 100}
    assert rank == Rank(context_bytes=70, graph_bytes=35)
    torch_memory.note_outside(EngineFacts(), eager := Rank(), "warmup.end", 100)
    assert eager == Rank(context_bytes=100, graph_bytes=0)


def test_bytes_that_could_not_be_had_give_no_context():
    facts, rank = EngineFacts(), Rank()
    torch_memory.note_outside(facts, rank, "warmup.end", None)
    assert rank == Rank()
    assert to_values(facts) == {"outside_allocator_bytes.warmup.end": None}


def test_the_heap_grows_with_what_is_taken_of_it():
    before = torch_memory.heap()
    if before["allocated"] is None:
        pytest.skip("no mallinfo2 in this C library")
    taken = bytearray(64 << 20)
    after = torch_memory.heap()
    assert (after["allocated"] or 0) - before["allocated"] >= len(taken)
    assert (after["reserved"] or 0) >= (after["allocated"] or 0)


def test_threads_may_share_a_trace(tmp_path):
    """Transformers schedules in one thread and answers in another; both write records."""
    path, each = tmp_path / "worker.jsonl", 20_000
    with Writer(path, "test") as writer:

        def write(first: int) -> None:
            for step in range(first, first + each):
                writer.write(Kv(t=0, step=step, groups=[Slots(1, 1)], pool=1, running=1))
                if step % 7 == 0:
                    writer.flush()

        threads = [threading.Thread(target=write, args=(n * each,)) for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    damage = Damage()
    steps = [record.step for record in read(path, damage) if isinstance(record, Kv)]
    assert sorted(steps) == list(range(3 * each))
    assert (damage.bad, damage.torn) == (0, False)


def test_counts_are_of_the_ids_that_came_back(tmp_path):
    prompt = Prompt(id="a", prompt_ids=[1, 2, 3], output_tokens=5)
    with Writer(tmp_path / "t.jsonl", "test") as writer:
        recorder = Recorder(writer, record_kv=True)
        recorder.request(prompt, [9, 9], 7, 8, 9, 10)
    record = next(r for r in read(tmp_path / "t.jsonl") if isinstance(r, Request))
    assert (record.prompt_tokens, record.output_tokens, record.arrive) == (3, 2, 7)
    assert record.token_ids_sha256 == sha256([9, 9])


def test_without_kv_nothing_is_written_but_requests(tmp_path):
    with Writer(tmp_path / "t.jsonl", "test") as writer:
        recorder = Recorder(writer, record_kv=False)
        recorder.kv(1, Slots(2, 1), running=1)
        recorder.blocks(1, "a", gained=[1], lost=[])
    assert len(list(read(tmp_path / "t.jsonl"))) == 1


def test_a_step_without_a_pool_is_its_own_pool(tmp_path):
    with Writer(tmp_path / "t.jsonl", "test") as writer:
        recorder = Recorder(writer, record_kv=True)
        recorder.kv(1, Slots(2, 1), running=1)
        recorder.kv(2, Slots(2, 1, 3), 9, running=1)
    kvs = [r for r in read(tmp_path / "t.jsonl") if isinstance(r, Kv)]
    assert [(kv.step, kv.pool, kv.groups[0].shared) for kv in kvs] == [(1, 2, 0), (2, 9, 3)]


def test_device_bytes_outside_the_allocator(monkeypatch):
    cuda = SimpleNamespace(
        is_available=lambda: True, mem_get_info=lambda: (600, 1000), memory_reserved=lambda: 250
    )
    monkeypatch.setitem(__import__("sys").modules, "torch", SimpleNamespace(cuda=cuda))
    assert torch_memory.outside_allocator(100) == 1000 - 600 - 100 - 250
    assert torch_memory.outside_allocator(None) is None
