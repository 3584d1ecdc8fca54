"""vllm: the whole batch at once through vLLM's offline engine, paged attention underneath.

On a GPU the engine runs as in production: in its own process, scheduling ahead. On a CPU it runs
in this process, which on few cores is faster and repeatable. KV counts come from the scheduler
(`vllm_scheduler`), memory from the process that owns the device (`vllm_probe`).
"""

import os
import time
from typing import Any

import msgspec

from traces import clock
from traces.facts import EngineFacts, from_values, to_values
from traces.job import Job, Point, Prompt
from traces.layout import Layout
from workers import torch_memory, vllm_arguments
from workers.backend import Came, Recorder, Tell

LOOK_S = 0.05  # between two looks whether the engine's process lives
REST_S = 60.0  # to give up requests: a forward pass under way ends first


class Worker:
    """One vLLM engine with a scheduler that counts."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self.job = job
        self.recorder = recorder
        self.llm: Any = None
        self.longest = 0
        self._engine: Any = None
        self._scheduler: Any = None  # where the engine is in this process
        self._answers: Any = None  # its queue, where it has its own
        self._flying: set[str] = set()
        self._stats: dict[str, Any] = {}  # vLLM's own, of each request since the engine was at rest
        self._rested = False
        self._facts = EngineFacts()
        self._layout = Layout()

    def prepare(self) -> None:
        own_process = self.job.options.get("engine_process", self.job.device == "cuda")
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if own_process else "0"
        os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"  # what YaRN adds: prepare has checked it
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would override the KV budget silently
        import vllm  # noqa: F401  the import is the cost

        vllm_arguments.refuse_unknown(self.job.options.get("args", {}))
        self._facts.engine_process = own_process

    def open(self) -> None:
        from vllm import LLM

        self.llm = LLM(**vllm_arguments.of(self.job))
        self._engine = self.llm.llm_engine
        core = self._engine.engine_core
        self._answers = getattr(core, "outputs_queue", None)
        self._scheduler = None if self._answers else core.engine_core.scheduler
        facts, layout = self._ask("pagedbench_sizes")
        self._facts = from_values(to_values(self._facts) | facts)
        self._layout = msgspec.convert(layout, Layout)
        cache, group = self._engine.vllm_config.cache_config, self._layout.group
        blocks, pool = cache.num_gpu_blocks, self._layout.rank.pool_bytes or 0
        self._facts.num_blocks = blocks - 1  # block 0 is the null block: never given to a request
        group.block_tokens, group.bytes_per_block = cache.block_size, pool // blocks
        group.bytes_per_token = group.bytes_per_block // cache.block_size
        self._hold(None)

    def _hold(self, usable: int | None) -> None:
        """Note the longest request that so many blocks hold (None: all of them)."""
        blocks = usable or self._facts.num_blocks or 0
        self.longest = min(self.job.max_length, blocks * (self._layout.group.block_tokens or 0))

    def sampling(self, prompt: Prompt) -> Any:
        """Return how tokens are chosen, and that each is told as it comes."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=0.0, max_tokens=prompt.output_tokens, ignore_eos=True, detokenize=False,
            output_kind=RequestOutputKind.DELTA, extra_args={"pagedbench_id": prompt.id},
        )  # fmt: skip

    def submit(self, prompt: Prompt, due: int) -> None:
        if self._rested:
            self._stats, self._rested = {}, False
        self._flying.add(prompt.id)
        self._engine.add_request(
            prompt.id, {"prompt_token_ids": prompt.prompt_ids}, self.sampling(prompt),
            arrival_time=due / 1e9 + time.time() - time.monotonic(),
        )  # fmt: skip

    def step(self, until: int, tell: Tell) -> bool:
        if not self._answered(until):
            return True
        came = self._came()
        tell(came)
        return bool(came) or self._scheduler is None or bool(self._scheduler.running)

    def _answered(self, until: int) -> bool:
        """Wait until step() will not: in a process of its own the engine answers when it likes.

        A process that was killed says nothing: it must be looked at.
        """
        if self._answers is None:
            return True
        wait_s = min(LOOK_S, max(0.0, (until - clock.now()) / 1e9))
        with self._answers.not_empty:
            there: bool = self._answers.not_empty.wait_for(
                lambda: len(self._answers.queue) > 0, timeout=wait_s
            )
        if not there and self._engine.engine_core.resources.engine_dead:
            raise RuntimeError("vLLM's engine process is dead")
        return there

    def _came(self) -> list[Came]:
        """Take a step of the engine, or what one gave; times are the engine's own."""
        came = []
        for output in self._engine.step():
            stats = self._stats[output.request_id] = output.metrics
            if output.finished:
                self._flying.remove(output.request_id)
            came.append(
                Came(
                    output.request_id, list(output.outputs[0].token_ids),
                    int(stats.last_token_ts * 1e9), output.finished, _ns(stats.scheduled_ts),
                )
            )  # fmt: skip
        return came

    def cancel(self, tell: Tell) -> None:
        for _ in range(self._answers.qsize() if self._answers else 0):
            tell(self._came())
        left, self._flying = list(self._flying), set()
        self._engine.abort_request(left)
        if left and self._scheduler is not None:
            self._flush()
        end = time.monotonic() + REST_S
        while self.llm.reset_prefix_cache() is False:  # a step under way holds blocks to its end
            if time.monotonic() > end:
                raise RuntimeError(
                    f"requests are still there {REST_S:g} s after they were given up"
                )
            time.sleep(0.01)
        for _ in range(self._answers.qsize() if self._answers else 0):
            self._engine.step()  # of requests that were given up
        self._rested = True

    def _flush(self) -> None:
        """Let an engine in this process learn that requests were given up, and end its steps."""
        core = self._engine.engine_core.engine_core
        while self._scheduler.has_requests() or core.batch_queue:
            self._engine.step()

    def _throughput(self) -> float | None:
        """Return the engine's own account: its counts, from first arrival to last token.

        Arrivals are stamped on the wall clock, all else on the monotonic one.
        """
        stats = self._stats.values()
        if not stats:
            return None
        wall_ahead = time.time() - time.monotonic()
        arrived = min(s.arrival_time for s in stats) - wall_ahead
        seconds = max(s.last_token_ts for s in stats) - arrived
        tokens: int = sum(s.num_generation_tokens for s in stats)
        return tokens / seconds if seconds > 0 else None

    def arrange(self, point: Point) -> None:
        usable = None
        if point.kv_budget is not None:
            cache = self._engine.vllm_config.cache_config
            block = self._layout.group.bytes_per_block or 0
            usable = min(point.kv_budget // block, cache.num_gpu_blocks) - 1  # the null block
        self._hold(usable)
        self._ask("pagedbench_arrange", point.policy, usable)

    def memory(self, where: str) -> None:
        alloc, outside = self._ask("pagedbench_memory", self.job.device, self.job.baseline_used)
        self.recorder.alloc(where, **alloc)
        torch_memory.note_outside(self._facts, self._layout.rank, where, outside)
        if where == "warmup.end":
            self._ask("pagedbench_reset_peak", self.job.device)

    def layout(self) -> Layout:
        return self._layout

    def facts(self) -> EngineFacts:
        import torch
        import transformers
        import vllm

        self._facts.engine_throughput_tokens_per_s = self._throughput()
        config = self._engine.vllm_config
        self._facts.versions = {
            "torch": str(torch.__version__), "transformers": transformers.__version__,
            "vllm": vllm.__version__,
        }  # fmt: skip
        self._facts.settings = {
            "prefix_caching": config.cache_config.enable_prefix_caching,
            "attention": ", ".join(self._layout.kernels),
            "execution": _execution(config.compilation_config),
            "block_size": config.cache_config.block_size,
            "async_scheduling": config.scheduler_config.async_scheduling,
            "max_model_len": config.model_config.max_model_len,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "kv_cache_dtype": config.cache_config.cache_dtype,
            "engine_process": self._facts.engine_process,
        }
        return self._facts

    def close(self) -> None:
        self._engine.engine_core.shutdown()
        self.llm = self._engine = None

    def _ask(self, method: str, *args: Any) -> Any:
        return self.llm.collective_rpc(method, args=args)[0]


def _ns(seconds: float) -> int | None:
    """vLLM's stamps are time.monotonic() of the same clock; 0.0 means never."""
    return int(seconds * 1e9) if seconds else None


def _execution(config: Any) -> str:
    """Return how steps are run: both enumerations are 0 for neither."""
    ran = [name for name, on in (("compiled", config.mode), ("CUDA graphs", config.cudagraph_mode))
           if on is not None and on.name != "NONE"]  # fmt: skip
    return ", ".join(ran) or "eager"
