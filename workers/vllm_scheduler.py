"""Count KV blocks inside vLLM's scheduler: every step, in the process that schedules.

vLLM takes a scheduler class by name (`scheduler_cls`), and this is one: the engine's own, with a
few sums around `schedule()` and `update_from_output()`. It writes engine.jsonl itself, since the
engine may live in a process of its own. What changed is recorded, never whole block tables: those
cost 15 % of throughput at 256 requests, the sums and changes under 1 %.

A token is *stored* from the step on that computes it, whether that has ended or is under way. An
engine that schedules ahead has by then counted the tokens of the step after it, too
(`num_computed_tokens` grows when a step is scheduled), so those are taken off again. Blocks are
*held* from `schedule()` on: for a step that is scheduled ahead they are held a step early. What a
step *produced* is known when it has ended, so its records wait until then.

Blocks held are counted from the tables: those that the scheduler's output hands to requests, until
they end or give way. The engine's own gauge is counted otherwise, from the pool's queue of free
blocks, and is kept beside ours as a check.

It may rely on: `kv_cache_manager.block_pool` and `.usage`, `running`, `waiting`, `requests`,
`finished_req_ids`, a request's `num_computed_tokens` and `status`, and the fields of
SchedulerOutput (vLLM 0.26 to 0.33).
"""

from collections import Counter, deque
from pathlib import Path
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import RequestStatus

from traces import clock
from traces.facts import EngineFacts, to_values
from traces.policy import Policy
from traces.records import Blocks, Facts, Kv, Slots
from traces.writer import Writer
from workers.vllm_policy import Reservation

recording = True
"""Whether to record. `Probe.pagedbench_record` sets it, to measure the cost; only while idle."""

current: "_Recording"
"""The scheduler of this process, once it was made: for the probe, which shares the process."""


class _Scheduled:
    """A step that was scheduled and whose output has not come: the first of them is executing."""

    def __init__(self, number: int, output: Any) -> None:
        self.number = number
        self.tokens: dict[str, int] = dict(output.num_scheduled_tokens)
        self.computed: int = output.total_num_scheduled_tokens
        self.total = self.computed

    def forget(self, request_id: str) -> None:
        """Its tokens are stored no longer: it gave way, or ended."""
        self.total -= self.tokens.pop(request_id, 0)


class _Recording:
    """Mix-in over a vLLM scheduler: records after schedule() and after update_from_output()."""

    vllm_config: Any
    kv_cache_manager: Any
    running: list[Any]
    waiting: Any
    finished_req_ids: set[str]
    requests: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = self.vllm_config.additional_config["pagedbench"]
        self._trace = Writer(Path(settings["trace"]), "vllm engine")
        self._block_size: int = self.vllm_config.cache_config.block_size
        self._pool = self.kv_cache_manager.block_pool
        self._usable: int = self._pool.num_gpu_blocks - 1  # 0 is the null block
        self._withheld: list[Any] = []
        self._reservation = Reservation(self)
        self._reservation.use(settings.get("policy", "paged"))
        self._names: dict[str, str] = {}
        self._theirs: dict[str, Any] = {}
        self._tables: dict[str, list[int]] = {}
        self._table_blocks = 0
        self._holders: Counter[int] = Counter()
        self._flying: deque[_Scheduled] = deque()
        self._untold: list[Kv] = []
        self._step = 0
        self._settled = True
        self._gauge = 0.0
        global current
        current = self

    def arrange(self, policy: Policy, usable: int | None) -> None:
        """Change the policy, and how many blocks requests may have (None: all), for what follows.

        Raises RuntimeError where a request is there or the prefix cache knows a block: what was
        measured before would reach into what comes.
        """
        if self.running or self.waiting or self._holders:
            raise RuntimeError("requests are still there: nothing may change now")
        self._release()
        if any(block.block_hash is not None for block in self._pool.blocks):
            raise RuntimeError("the prefix cache is not empty: nothing may change now")
        self._reservation.use(policy)
        if usable is not None:
            self._withheld = self._pool.get_new_blocks(self._usable - usable)

    def _release(self) -> None:
        self._pool.free_blocks(self._withheld)
        self._withheld = []

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        if not recording:
            return super().schedule(*args, **kwargs)  # type: ignore[misc]
        begun = clock.now()
        self._end(begun)  # given up since the step before
        output = super().schedule(*args, **kwargs)  # type: ignore[misc]
        self._take(begun, output)
        if output.total_num_scheduled_tokens:  # else nothing will run: it is no step
            self._step += 1
            self._flying.append(_Scheduled(self._step, output))
            self._count(begun, len(output.preempted_req_ids or ()))
        elif not self._flying:
            self._settle(begun)
        return output

    def update_from_output(self, scheduled: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = super().update_from_output(scheduled, *args, **kwargs)  # type: ignore[misc]
        if not recording:
            return outputs
        now = clock.now()
        if scheduled.total_num_scheduled_tokens and self._flying:
            self._flying.popleft()
            self._tell(sum(len(one.new_token_ids) for o in outputs.values() for one in o.outputs))
        self._end(now)
        if self._flying:  # the step that was scheduled ahead is executing now
            self._count(now, 0)
        elif not self.running:
            self._settle(now)
        return outputs

    def _end(self, now: int) -> None:
        """Take the blocks of requests that have ended, or were given up: those had no last step."""
        for request_id in [name for name in self.finished_req_ids if name in self._tables]:
            request = self._theirs.pop(request_id)
            given_up = request.status is RequestStatus.FINISHED_ABORTED
            self._lose(now, request_id, None if given_up else request.num_computed_tokens)
            self._names.pop(request_id, None)

    def _tell(self, produced: int | None) -> None:
        """Write what waited for the executing step's tokens; its first record gets their count."""
        for kv in self._untold:
            kv.produced, produced = produced, None
            self._trace.write(kv)
        self._untold.clear()

    def reset_prefix_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Done after each batch: the gauge's peak is of one, even if it stood idle on the way."""
        if not self._flying:  # of a batch that was given up no later step would tell
            self._end(clock.now())
            self._settle(clock.now())
        self._gauge = 0.0
        withheld = len(self._withheld)
        self._release()  # the engine resets its cache only while nobody holds a block
        done = super().reset_prefix_cache(*args, **kwargs)  # type: ignore[misc]
        self._withheld = self._pool.get_new_blocks(withheld)
        return done

    def _settle(self, now: int) -> None:
        """Nothing runs any more: count that, and the engine's own gauge at its highest so far."""
        if self._settled:
            return
        self._count(now, 0)
        self._settled = True
        self._tell(None)
        facts = EngineFacts(engine_kv_usage_peak=self._gauge, stored_when="executing")
        self._trace.write(Facts(t=now, values=to_values(facts)))
        self._trace.flush()

    def shutdown(self) -> None:
        super().shutdown()  # type: ignore[misc]
        self._tell(None)
        self._trace.close()

    def _take(self, now: int, output: Any) -> None:
        """Record the blocks this step gave to requests, and took from preempted ones."""
        for request_id in output.preempted_req_ids or ():
            self._lose(now, request_id)
        for new in output.scheduled_new_reqs:
            extra = getattr(new.sampling_params, "extra_args", None) or {}
            self._names[new.req_id] = extra.get("pagedbench_id", new.req_id)
            self._theirs[new.req_id] = self.requests[new.req_id]
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

    def _lose(self, now: int, request_id: str, stored: int | None = None) -> None:
        for scheduled in self._flying:
            scheduled.forget(request_id)
        lost = self._tables.pop(request_id, [])
        self._table_blocks -= len(lost)
        for block in lost:
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
        name = self._names.get(request_id, request_id)
        self._trace.write(Blocks(t=now, request=name, lost=lost, stored=stored))

    def _count(self, now: int, preempted: int) -> None:
        """Record the sums while the first step in flight executes, by whose number they go.

        A block in several tables is stored once: what sharing saves is told apart.
        """
        size = self._block_size
        held = len(self._holders)
        shared = self._table_blocks - held
        usable = self._usable - len(self._withheld)
        used = self.kv_cache_manager.usage * self._usable - len(self._withheld)
        self._gauge = max(self._gauge, used / usable)
        self._settled = False
        computed = sum(request.num_computed_tokens for request in self.running)
        executing = self._flying[0] if self._flying else None
        ahead = sum(scheduled.total for scheduled in self._flying if scheduled is not executing)
        slots = Slots(held * size, computed - ahead - shared * size, shared * size, 0, ahead)
        self._untold.append(
            Kv(
                t=now, step=executing.number if executing else self._step, groups=[slots],
                pool=usable * size, running=len(self.running), waiting=len(self.waiting),
                preempted=preempted, free_blocks=self._pool.get_num_free_blocks(),
                computed=executing.computed if executing and not self._untold else None,
            )
        )  # fmt: skip


class RecordingScheduler(_Recording, Scheduler):
    """For engines that schedule a step after the one before has ended."""


class RecordingAsyncScheduler(_Recording, AsyncScheduler):
    """For engines that schedule ahead: vLLM turns that off for any other class."""
