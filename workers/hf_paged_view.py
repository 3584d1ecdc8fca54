"""Transformers' paged cache and its scheduler, read at each step: the one place that knows names.

They differ between Transformers 5.17 and later.
"""

import time
from typing import Any

from traces import clock
from traces.layout import Layout
from traces.records import Slots
from workers import torch_memory
from workers.backend import Recorder

ANSWER_S = 1.0


class PagedView:
    """Transformers' paged cache, seen the same way in all tested versions."""

    def __init__(self, recorder: Recorder, cache: Any, scheduler: Any) -> None:
        self._recorder = recorder
        self._cache = cache
        self._scheduler = scheduler
        self._older = hasattr(cache, "group_cache_managers")  # Transformers 5.17
        self._known: dict[str, list[int]] = {}
        self._running: set[str] = set()
        self._stored: dict[str, int] = {}
        self._idle = False

    @property
    def block_size(self) -> int:
        """Slots per block."""
        if self._older:
            return int(self._cache.block_size)
        return int(next(iter(self._cache.cache_allocators.values())).tokens_per_page)

    def blocks(self) -> int:
        """Return how many blocks there are for requests."""
        return int(self._cache.num_blocks)

    def tables(self) -> dict[str, list[int]]:
        """Return the physical blocks of each request, over all attention groups."""
        cache = self._cache
        groups = cache.group_cache_managers if self._older else cache.cache_allocators.values()
        found: dict[str, list[int]] = {}
        for group in groups:
            for request, blocks in group.block_table.items():
                found.setdefault(request, []).extend(blocks)
        return found

    def tensors(self) -> list[Any]:
        """Return the tensors behind the pool."""
        cache = self._cache
        return [*cache.key_cache, *cache.value_cache] if self._older else [cache.cache_tensor]

    def lay_out(self, layout: Layout) -> None:
        """Note the pool's sizes; bytes per token count the two spare blocks Transformers adds."""
        layout.rank.pool_bytes = pool = torch_memory.tensor_bytes(self.tensors())
        layout.group.block_tokens = self.block_size
        layout.group.bytes_per_block = pool // (self.blocks() + 2)
        layout.group.bytes_per_token = layout.group.bytes_per_block // self.block_size

    def settings(self) -> dict[str, int]:
        """Return what a step may be: tokens and requests at most, and the tokens of a page."""
        return {
            "max_batch_tokens": int(self._cache.max_batch_tokens),
            "max_num_seqs": int(self._scheduler.max_requests_per_batch),
            "page_size": self.block_size,
        }

    def count(self, begun: int, scheduled: list[Any]) -> None:
        """Record a step: what is stored when it ends, in slots held from its begin."""
        tables = self.tables()
        self._changes(begun, tables)
        for future in scheduled:
            state = future.state
            self._stored[state.request_id] = state.position_offset + future.query_length
        size, active = self.block_size, self._scheduler.active_requests.values()
        stored = sum(state.position_offset for state in active)
        computed = sum(future.query_length for future in scheduled)
        waiting = self._scheduler.waiting_requests
        preempted = len(self._running & waiting.keys())
        self._running = set(self._scheduler.active_requests)
        held = len({block for blocks in tables.values() for block in blocks})
        shared = sum(map(len, tables.values())) - held
        slots = Slots(held * size, stored + computed - shared * size, shared * size)
        self._recorder.kv(
            begun, slots, self.blocks() * size, running=len(self._running), waiting=len(waiting),
            preempted=preempted, free_blocks=self.blocks() - held, computed=computed,
            produced=sum(future.has_new_token for future in scheduled),
        )  # fmt: skip
        self._idle = False

    def running(self) -> bool:
        """Whether any request is being worked on."""
        return bool(self._scheduler.active_requests)

    def pending(self) -> bool:
        """Whether any request is there, worked on or not."""
        return bool(self._scheduler.has_pending_requests())

    def settle(self) -> None:
        """Record that all requests have ended, once their blocks are given back."""
        end = time.monotonic() + ANSWER_S
        while self.tables() and time.monotonic() < end:
            time.sleep(0.001)
        if not self._idle:
            self.count(clock.now(), [])
            self._idle = True

    def _changes(self, now: int, tables: dict[str, list[int]]) -> None:
        """Record which blocks changed hands since the step before."""
        for request in self._known.keys() - tables.keys():
            lost, stored = self._known.pop(request), self._stored.pop(request, None)
            ended = request not in self._scheduler.waiting_requests
            self._recorder.blocks(now, request, [], lost, stored if ended else None)
        for request, blocks in tables.items():
            before = self._known.get(request, [])
            if blocks != before:  # grown, or a full block gave way to an equal one of another's
                had, has = set(before), set(blocks)
                gained = [block for block in blocks if block not in had]
                lost = [block for block in before if block not in has]
                self._recorder.blocks(now, request, gained=gained, lost=lost)
                self._known[request] = list(blocks)
