"""Count KV blocks inside vLLM's scheduler: every step, in the process that schedules.

vLLM takes a scheduler class by name (`scheduler_cls`), and this is one: the engine's own, with a
few sums after each `schedule()`. It writes engine.jsonl itself, since the engine may live in a
process of its own. What changed is recorded, never whole block tables: those cost 15 % of
throughput at 256 requests, the sums and changes under 1 %.

Blocks held are counted from the tables: those that the scheduler's output hands to requests, until
they end or give way. The engine's own gauge is counted otherwise, from the pool's queue of free
blocks, and is kept beside ours as a check.

It may rely on: `kv_cache_manager.block_pool` and `.usage`, `running`, `waiting`,
`finished_req_ids`, and the fields of SchedulerOutput (vLLM 0.26 to 0.33).
"""

from collections import Counter
from pathlib import Path
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from traces import clock
from traces.facts import EngineFacts, to_values
from traces.records import Blocks, Facts, Kv
from traces.writer import Writer

SCAN_SHARE = 1 / 500  # of the time that scans for cached blocks may take: they are O(pool)
NOT_SCANNED = {"cached_slots": "between scans, which take at most 1/500 of the time"}

recording = True
"""Whether to record. `Probe.pagedbench_record` sets it, to measure the cost; only while idle."""


class _Recording:
    """Mix-in over a vLLM scheduler: records after schedule() and after update_from_output()."""

    vllm_config: Any
    kv_cache_manager: Any
    running: list[Any]
    waiting: Any
    finished_req_ids: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = self.vllm_config.additional_config["pagedbench"]
        self._trace = Writer(Path(settings["trace"]), "vllm engine")
        self._block_size: int = self.vllm_config.cache_config.block_size
        self._pool = self.kv_cache_manager.block_pool
        self._pool_slots = (self._pool.num_gpu_blocks - 1) * self._block_size  # 0 is the null block
        self._names: dict[str, str] = {}
        self._tables: dict[str, list[int]] = {}
        self._table_blocks = 0
        self._holders: Counter[int] = Counter()
        self._step = 0
        self._gauge = 0.0
        self._scan_due = 0

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        if not recording:
            return super().schedule(*args, **kwargs)  # type: ignore[misc]
        begun = clock.now()
        output = super().schedule(*args, **kwargs)  # type: ignore[misc]
        self._take(begun, output)
        self._step += 1
        self._count(begun, len(output.preempted_req_ids or ()))
        return output

    def update_from_output(self, *args: Any, **kwargs: Any) -> Any:
        outputs = super().update_from_output(*args, **kwargs)  # type: ignore[misc]
        if not recording:
            return outputs
        ended = [name for name in self.finished_req_ids if name in self._tables]
        if ended:
            now = clock.now()
            for request_id in ended:
                self._lose(now, request_id)
                self._names.pop(request_id, None)
            if not self.running:
                self._count(now, 0)
                self._settle(now)
        return outputs

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Done after each batch: the gauge's peak is of one, even if it stood idle on the way."""
        self._gauge = 0.0
        return super().reset_prefix_cache(*args, **kwargs)  # type: ignore[misc]

    def _settle(self, now: int) -> None:
        """Nothing runs any more: write down the engine's own gauge at its highest so far."""
        facts = EngineFacts(engine_kv_usage_peak=self._gauge)
        self._trace.write(Facts(t=now, values=to_values(facts)))
        self._trace.flush()

    def shutdown(self) -> None:
        super().shutdown()  # type: ignore[misc]
        self._trace.close()

    def _take(self, now: int, output: Any) -> None:
        """Record the blocks this step gave to requests, and took from preempted ones."""
        for request_id in output.preempted_req_ids or ():
            self._lose(now, request_id)
        for new in output.scheduled_new_reqs:
            extra = getattr(new.sampling_params, "extra_args", None) or {}
            self._names[new.req_id] = extra.get("pagedbench_id", new.req_id)
            self._gain(now, new.req_id, new.block_ids)
        cached = output.scheduled_cached_reqs
        for request_id, block_ids in zip(cached.req_ids, cached.new_block_ids, strict=True):
            if block_ids is not None:
                self._gain(now, request_id, block_ids)

    def _gain(self, now: int, request_id: str, groups: tuple[list[int], ...]) -> None:
        gained = [block for group in groups for block in group]
        if gained:
            self._tables.setdefault(request_id, []).extend(gained)
            self._table_blocks += len(gained)
            self._holders.update(gained)
            name = self._names.get(request_id, request_id)
            self._trace.write(Blocks(t=now, request=name, gained=gained))

    def _lose(self, now: int, request_id: str) -> None:
        lost = self._tables.pop(request_id, [])
        self._table_blocks -= len(lost)
        for block in lost:
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
        name = self._names.get(request_id, request_id)
        self._trace.write(Blocks(t=now, request=name, lost=lost))

    def _count(self, now: int, preempted: int) -> None:
        """Record the sums. A block in several tables is held once: sharing is told apart."""
        size = self._block_size
        held = len(self._holders)
        shared = self._table_blocks - held
        self._gauge = max(self._gauge, self.kv_cache_manager.usage)
        computed = sum(request.num_computed_tokens for request in self.running)
        cached = self._cached()
        self._trace.write(
            Kv(
                t=now, step=self._step, live_tokens=computed - shared * size,
                reserved_slots=held * size, pool_slots=self._pool_slots,
                cached_slots=None if cached is None else cached * size,
                shared_slots=shared * size, running=len(self.running),
                waiting=len(self.waiting), preempted=preempted,
                why=NOT_SCANNED if cached is None else None,
            )
        )  # fmt: skip

    def _cached(self) -> int | None:
        """Return how many blocks nobody holds and a later request may find; None between scans."""
        pool = self._pool
        if not pool.enable_caching:
            return 0
        begun = clock.now()
        if begun < self._scan_due and self.running:
            return None  # the last scan's number would be wrong: blocks were taken since
        evictable: int = sum(
            block.ref_cnt == 0 and block.block_hash is not None and not block.is_null
            for block in pool.blocks
        )
        now = clock.now()
        self._scan_due = now + round((now - begun) / SCAN_SHARE)
        return evictable


class RecordingScheduler(_Recording, Scheduler):
    """For engines that schedule a step after the one before has ended."""


class RecordingAsyncScheduler(_Recording, AsyncScheduler):
    """For engines that schedule ahead: vLLM turns that off for any other class."""
