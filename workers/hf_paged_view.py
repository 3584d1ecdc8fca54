"""Transformers' paged cache: the one place that knows how its insides differ by version.

The names differ between Transformers 5.17 and later.
"""

import time
from typing import Any

from traces import clock
from traces.facts import EngineFacts
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

    def note_pool(self, facts: EngineFacts) -> None:
        """Note the pool's sizes; bytes per slot count the two spare blocks Transformers adds."""
        pool, total = torch_memory.tensor_bytes(self.tensors()), self.blocks()
        facts.block_size, facts.num_blocks, facts.pool_bytes = self.block_size, total, pool
        facts.bytes_per_slot = pool // ((total + 2) * self.block_size)

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
        size = self.block_size
        active = self._scheduler.active_requests.values()
        computed = sum(future.query_length for future in scheduled)
        stored = sum(state.position_offset for state in active) + computed
        waiting = self._scheduler.waiting_requests
        preempted = len(self._running & waiting.keys())
        self._running = set(self._scheduler.active_requests)
        held = len({block for blocks in tables.values() for block in blocks})
        shared = sum(map(len, tables.values())) - held
        self._recorder.kv(
            begun, stored=stored - shared * size, held=held * size, pool=self.blocks() * size,
            shared_slots=shared * size, running=len(self._running), waiting=len(waiting),
            preempted=preempted, computed=computed,
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
            self._recorder.blocks(now, request, gained=[], lost=self._known.pop(request))
        for request, blocks in tables.items():
            before = self._known.get(request, [])
            if blocks != before:  # grown, or a full block gave way to an equal one of another's
                had, has = set(before), set(blocks)
                gained = [block for block in blocks if block not in had]
                lost = [block for block in before if block not in has]
                self._recorder.blocks(now, request, gained=gained, lost=lost)
                self._known[request] = list(blocks)
