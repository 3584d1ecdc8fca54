"""PagedView against both shapes of Transformers' paged cache, as fakes: 5.17's and 5.19's."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from traces.layout import CacheGroup, Layout
from traces.records import Slots
from workers.hf_paged import Worker
from workers.hf_paged_view import PagedView
from workers.torch_memory import tensor_bytes

BLOCK, BLOCKS, BYTES = 16, 10, 64


class Storage:
    """A tensor's storage, and the tensor itself: an address and a size."""

    def __init__(self, address: int, size: int) -> None:
        self.address, self.size = address, size

    def untyped_storage(self) -> "Storage":
        return self

    def data_ptr(self) -> int:
        return self.address

    def nbytes(self) -> int:
        return self.size


class Log:
    """A recorder that keeps what it was told."""

    def __init__(self) -> None:
        self.kvs: list[dict[str, Any]] = []
        self.changes: list[tuple[str, list[int], list[int]]] = []
        self.ends: list[tuple[str, int]] = []
        self.requests: list[tuple[Any, ...]] = []

    def kv(self, t: int, slots: Slots, pool: int, **counts: int) -> None:
        self.kvs.append({**msgspec.structs.asdict(slots), "pool": pool, **counts})

    def blocks(
        self, t: int, request: str, gained: list[int], lost: list[int], stored: int | None = None
    ) -> None:
        self.changes.append((request, gained, lost))
        if stored is not None:
            self.ends.append((request, stored))

    def request(self, *said: Any) -> None:
        self.requests.append(said)


def older(free: int, *tables: dict[str, list[int]]) -> Any:
    """The cache of Transformers 5.17: a manager per attention group, a tensor per layer."""
    layers = [Storage(i, (BLOCKS + 2) * BLOCK * BYTES // 4) for i in range(4)]
    return SimpleNamespace(
        block_size=BLOCK, num_blocks=BLOCKS, get_num_free_blocks=lambda: free,
        group_cache_managers=[SimpleNamespace(block_table=table) for table in tables],
        key_cache=layers[:2], value_cache=layers[2:], max_batch_tokens=8192,
    )  # fmt: skip


def newer(free: int, *tables: dict[str, list[int]]) -> Any:
    """The cache of Transformers 5.19: an allocator per kind of attention, one tensor for all."""
    return SimpleNamespace(
        num_blocks=BLOCKS,
        cache_allocators={
            str(i): SimpleNamespace(block_table=table, tokens_per_page=BLOCK)
            for i, table in enumerate(tables)
        },
        compute_free_capacity=lambda relative: free / BLOCKS,
        cache_tensor=Storage(0, (BLOCKS + 2) * BLOCK * BYTES),
        max_batch_tokens=8192,
    )


def scheduler(active: dict[str, int], waiting: tuple[str, ...] = ()) -> Any:
    """A scheduler with these requests and the tokens they have stored."""
    return SimpleNamespace(
        active_requests={name: SimpleNamespace(position_offset=n) for name, n in active.items()},
        waiting_requests=dict.fromkeys(waiting),
        waiting_requests_order=deque(waiting),
        max_requests_per_batch=1024,
    )


def view(cache: Any, active: Any) -> tuple[PagedView, Log]:
    log = Log()
    return PagedView(log, cache, active), log  # type: ignore[arg-type]


def step(*lengths: int, produces: bool = True) -> list[Any]:
    """What a step takes of its requests, a and b, which had 10 tokens stored each."""
    states = [SimpleNamespace(request_id=name, position_offset=10) for name in "ab"]
    return [
        SimpleNamespace(state=state, query_length=n, has_new_token=produces)
        for state, n in zip(states, lengths, strict=False)
    ]


both = pytest.mark.parametrize("cache", [older, newer])


@both
def test_a_step_counts_what_is_stored_at_its_end(cache):
    seen, log = view(cache(5, {"a": [0, 1], "b": [7]}), scheduler({"a": 16, "b": 0}, ("c",)))
    seen.count(0, [*step(1), *step(9, produces=False)])  # of b a part of its prompt
    assert log.kvs == [
        {
            "stored": 26, "held": 3 * BLOCK, "pool": BLOCKS * BLOCK,
            "shared": 0, "pad": 0, "ahead": 0, "running": 2, "waiting": 1, "preempted": 0,
            "free_blocks": BLOCKS - 3, "computed": 10, "produced": 1,
        }
    ]  # fmt: skip
    assert log.changes == [("a", [0, 1], []), ("b", [7], [])]


@both
def test_a_shared_block_is_held_and_counted_once(cache):
    seen, log = view(cache(6, {"a": [3, 4], "b": [3, 9]}), scheduler({"a": 20, "b": 17}))
    seen.count(0, step(1, 1))
    (kv,) = log.kvs
    assert (kv["held"], kv["shared"]) == (3 * BLOCK, BLOCK)
    assert kv["stored"] == 20 + 17 + 2 - BLOCK


@both
def test_a_block_exchanged_in_the_middle_is_a_change(cache):
    """Of two full and equal blocks Transformers keeps one: the table's end stays as it is."""
    tables = {"a": [0, 1], "b": [5, 6]}
    seen, log = view(cache(6, tables), scheduler({"a": 20, "b": 20}))
    seen.count(0, step(1, 1))
    tables["b"][0] = 0
    seen.count(1, step(1, 1))
    seen.count(2, step(1, 1))
    assert log.changes[2:] == [("b", [0], [5])]


@both
def test_blocks_given_back_are_lost(cache):
    tables = {"a": [0, 1], "b": [5]}
    seen, log = view(cache(7, tables), scheduler({"a": 20, "b": 3}))
    seen.count(0, step(1, 1))
    del tables["a"]
    tables["b"].append(1)
    seen.count(1, step(1))
    assert log.changes[2:] == [("a", [], [0, 1]), ("b", [1], [])]
    assert log.ends == [("a", 11)]


@both
def test_a_request_sent_back_to_wait_was_preempted(cache):
    tables = {"a": [0], "b": [1]}
    seen, log = view(cache(8, tables), scheduler({"a": 3, "b": 3}))
    seen.count(0, step(1, 1))
    del tables["b"]
    seen._scheduler = scheduler({"a": 4}, ("b", "c"))
    seen.count(1, step(1))
    seen.count(2, step(1))
    assert [kv["preempted"] for kv in log.kvs] == [0, 1, 0]
    assert log.ends == []


@both
def test_sizes_count_the_two_spare_blocks(cache):
    layout = Layout()
    view(cache(10, {}), scheduler({}))[0].lay_out(layout)
    assert layout.rank.pool_bytes == (BLOCKS + 2) * BLOCK * BYTES
    assert layout.group == CacheGroup(
        block_tokens=BLOCK, bytes_per_token=BYTES, bytes_per_block=BLOCK * BYTES
    )


@both
def test_what_a_step_may_compute_is_a_setting(cache):
    assert view(cache(10, {}), scheduler({}))[0].settings() == {
        "max_batch_tokens": 8192, "max_num_seqs": 1024, "page_size": BLOCK,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "known", "setting", "set_to"),
    [
        ({}, ("auto_switch_to_flash",), {}, []),
        ({"attention": "sdpa"}, ("auto_switch_to_flash",), {"auto_switch_to_flash": False}, []),
        ({}, ("block_size",), {}, []),
        ({"attention": "eager"}, ("block_size",), {}, ["paged|eager"]),
    ],
)
def test_an_attention_that_was_asked_for_stays(options, known, setting, set_to):
    """Transformers 5.19 has a setting; 5.17 keeps what is called paged already."""
    called: list[str] = []
    worker = Worker(SimpleNamespace(options=options), Log())  # type: ignore[arg-type]
    worker.model = SimpleNamespace(set_attn_implementation=called.append)
    assert (worker._keep_attention(known), called) == (setting, set_to)


@both
def test_settling_records_the_end_once(cache):
    seen, log = view(cache(10, {}), scheduler({}))
    seen.settle()
    seen.settle()
    assert [(kv["stored"], kv["held"]) for kv in log.kvs] == [(0, 0)]


def answer(stamps: list[float], tokens: int, ended: bool = False, start: float = 1.0) -> Any:
    return SimpleNamespace(
        request_id="a", error=None, timestamps=stamps, lifespan=(start, 9.0),
        generated_tokens=list(range(tokens)), is_finished=lambda: ended,
    )  # fmt: skip


def test_each_token_is_told_once_with_its_time_also_where_a_request_started_anew():
    """Three tokens, then it gave way: the fourth comes with all four, and with its own stamp."""
    worker = Worker(None, Log())  # type: ignore[arg-type]
    worker._known["a"] = 0
    answers = [answer([2.0], 1), answer([2.0, 3.0, 4.0], 3), answer([8.0], 4, True, 7.0)]
    came = [each for found in answers for each in worker._came(found)]
    assert [(c.token_ids, c.t, c.ended) for c in came] == [
        ([0], 2 * 10**9, False), ([1], 3 * 10**9, False), ([2], 4 * 10**9, False),
        ([3], 8 * 10**9, True),
    ]  # fmt: skip
    assert [c.start for c in came] == [10**9, 10**9, 10**9, 7 * 10**9]


def test_an_error_is_not_an_output():
    failed = SimpleNamespace(request_id="07", error="no room", generated_tokens=[])
    with pytest.raises(RuntimeError, match="request 07: no room"):
        list(Worker(None, Log())._came(failed))  # type: ignore[arg-type]


def test_masks_that_are_made_up_front_are_counted():
    """One for each kind of attention; with flash attention there is none."""
    worker = Worker(None, Log())  # type: ignore[arg-type]
    for masks, size in (({"full": Storage(0, 70), "sliding": Storage(1, 30)}, 100), (None, 0)):
        io = SimpleNamespace(attention_mask=masks)
        worker.manager = SimpleNamespace(batch_processor=SimpleNamespace(inputs_and_outputs=io))
        assert tensor_bytes(worker.masks()) == size
