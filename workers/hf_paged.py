"""hf-paged: Transformers' own continuous batching on its paged cache.

Its scheduler is found by name in a table, to which this adds one that counts after scheduling.
The names inside differ between Transformers 5.17 and later: `PagedView` is the one place that
knows. Its default pool is most of the device's free memory, as vLLM's is.

Without flash attention it also makes, up front, a mask of `max_batch_tokens` rows over all slots of
the pool: gigabytes at its defaults, which are kept, for that is what its users get.
"""

import time
from collections.abc import Container
from typing import Any

from traces import clock, kv
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Prompt
from traces.layout import Layout
from traces.records import Slots
from workers import torch_memory
from workers.hf import HfWorker

ANSWER_S = 1.0
PREEMPTED = "preempted: Transformers starts such a request anew and keeps no earlier times"


class Worker(HfWorker):
    """One manager for warm-up and run; the pool is taken when it starts."""

    kind = "paged"
    manager: Any = None
    view: "PagedView"

    def load(self) -> None:
        super().load()
        import inspect

        from transformers import ContinuousBatchingConfig

        options = self.job.options
        page = options.get("block_size") or kv.DEFAULT_BLOCK[self.job.device]
        known = inspect.signature(ContinuousBatchingConfig).parameters
        sizes = {"page_size" if "page_size" in known else "block_size": page}
        if self.job.kv_budget or self.job.device == "cpu":
            sizes["num_blocks"] = self.rows_in_budget(page) - 2  # two spare ones are added to it
        if "max_batch_tokens" in options:
            sizes["max_batch_tokens"] = options["max_batch_tokens"]
        config = ContinuousBatchingConfig(
            **sizes, **self._keep_attention(known), scheduler_type=_register(self),
            allow_block_sharing=options.get("prefix_caching", True),
        )  # fmt: skip
        settings = self.greedy(1)
        settings.eos_token_id = -1
        self.manager = self.model.init_continuous_batching(
            generation_config=settings, continuous_batching_config=config
        )
        if (used := self.attention()) != (asked := options.get("attention", used)):
            raise Problem(f"attention {asked} was asked for, and Transformers would use {used}")
        self.manager.warmup()
        self.manager.start()

    def _keep_attention(self, known: Container[str]) -> dict[str, bool]:
        """Return the setting by which an attention that was asked for stays.

        Left alone, continuous batching switches to flash attention where that is installed.
        Transformers 5.17 has no such setting, and keeps what is called "paged|" already.
        """
        asked = self.job.options.get("attention")
        if asked is None:
            return {}
        if "auto_switch_to_flash" in known:
            return {"auto_switch_to_flash": False}
        self.model.set_attn_implementation(f"paged|{asked}")
        return {}

    def attention(self) -> str:
        return super().attention().removeprefix("paged|")

    def masks(self) -> list[Any]:
        """Return the masks that were made up front: one for each kind of attention, or none."""
        masks = getattr(self.manager.batch_processor.inputs_and_outputs, "attention_mask", None)
        return list(masks.values()) if isinstance(masks, dict) else []

    def batch_size(self, prompts: list[Prompt]) -> int:
        room = self.view.blocks() * self.view.block_size
        return len(prompts) if max(prompt.total for prompt in prompts) <= room else 0

    def generate(self, prompts: list[Prompt]) -> None:
        asked = {}
        for prompt in prompts:
            asked[prompt.id] = prompt
            self.manager.add_request(
                prompt.prompt_ids, request_id=prompt.id, max_new_tokens=prompt.output_tokens,
                record_timestamps=True, eos_token_id=-1,
            )  # fmt: skip
        while asked:
            output = self.manager.get_result(timeout=ANSWER_S)
            if output is not None and output.is_finished():
                self._take(asked.pop(output.request_id), output)
            elif output is None and not self.manager.is_running():
                raise RuntimeError("continuous batching stopped before all requests had ended")
        self.view.settle()

    def _take(self, prompt: Prompt, output: Any) -> None:
        """Record a result. Its stamps are time.perf_counter(), on Linux the monotonic clock."""
        if output.error is not None:
            raise RuntimeError(f"request {prompt.id}: {output.error}")
        stamps = [int(stamp * 1e9) for stamp in output.timestamps or []]
        start = int(output.lifespan[0] * 1e9) if output.lifespan[0] > 0 else None
        first, last = (stamps[0], stamps[-1]) if stamps else (None, None)
        why = None
        if len(stamps) < len(output.generated_tokens):
            start, first, why = None, None, dict.fromkeys(("start", "first"), PREEMPTED)
        self.recorder.request(prompt, list(output.generated_tokens), start, first, last, why)

    def facts(self) -> EngineFacts:
        facts = super().facts()
        facts.settings = {"attention": self.attention(), **self.view.settings()}
        facts.mask_bytes = torch_memory.tensor_bytes(self.masks())
        facts.num_blocks = self.view.blocks()
        return facts

    def layout(self) -> Layout:
        self.view.lay_out(super().layout())
        return self._layout

    def close(self) -> None:
        self.manager.stop(block=True, timeout=10)
        self.manager.destroy()
        self.manager = None
        del self.view
        super().close()


class PagedView:
    """Transformers' paged cache, seen the same way in all tested versions."""

    def __init__(self, worker: Worker, cache: Any, scheduler: Any) -> None:
        self._recorder = worker.recorder
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
        """Return what Transformers chose where no option did: tokens a step may compute at most."""
        return {"max_batch_tokens": int(self._cache.max_batch_tokens)}

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


def _register(worker: Worker) -> str:
    """Add a scheduler that counts to Transformers' table and return its name."""
    from transformers.generation.continuous_batching.scheduler import (
        SCHEDULER_MAPPING,
        FIFOScheduler,
    )

    class CountingScheduler(FIFOScheduler):
        def __init__(self, cache: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(cache, *args, **kwargs)
            worker.view = PagedView(worker, cache, self)

        def schedule_batch(self, *args: Any, **kwargs: Any) -> Any:
            begun = clock.now()
            result = super().schedule_batch(*args, **kwargs)
            scheduled = result[0] if isinstance(result, tuple) else result
            if scheduled:
                worker.view.count(begun, scheduled)
            return result

    SCHEDULER_MAPPING["pagedbench"] = CountingScheduler
    return "pagedbench"
