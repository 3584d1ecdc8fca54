"""vllm: the whole batch at once through vLLM's offline engine, paged attention underneath.

On a GPU the engine runs as in production: in its own process, scheduling ahead. On a CPU it runs
in this process, which on few cores is faster and repeatable. KV counts come from the scheduler
(`vllm_scheduler`), memory from the process that owns the device (`vllm_probe`).
"""

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from traces import kv
from traces.facts import EngineFacts, from_values, to_values
from traces.job import Job, Point, Prompt
from traces.layout import Layout
from workers import torch_memory
from workers.backend import Recorder


class Worker:
    """One vLLM engine with a scheduler that counts."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self.job = job
        self.recorder = recorder
        self.llm: Any = None
        self._facts = EngineFacts()
        self._layout = Layout()

    def import_engine(self) -> None:
        own_process = self.job.options.get("engine_process", self.job.device == "cuda")
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if own_process else "0"
        os.environ["VLLM_ALLOW_LONG_MAX_MODEL_LEN"] = "1"  # what YaRN adds: prepare has checked it
        os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would override the KV budget silently
        import vllm  # noqa: F401  the import is the cost

        self._facts.engine_process = own_process

    def load(self) -> None:
        from vllm import LLM

        self.llm = LLM(**self.arguments())
        facts, layout = self._ask("pagedbench_sizes")
        self._facts = from_values(to_values(self._facts) | facts)
        self._layout = msgspec.convert(layout, Layout)
        cache, group = self.llm.llm_engine.vllm_config.cache_config, self._layout.group
        blocks, pool = cache.num_gpu_blocks, self._layout.rank.pool_bytes or 0
        self._facts.num_blocks = blocks - 1  # block 0 is the null block: never given to a request
        group.block_tokens, group.bytes_per_block = cache.block_size, pool // blocks
        group.bytes_per_token = group.bytes_per_block // cache.block_size

    def arguments(self) -> dict[str, Any]:
        """Return what LLM() is called with: the public options this project depends on."""
        job, options = self.job, self.job.options
        scheduling_ahead = options.get("async_scheduling", job.device == "cuda")
        arguments = {
            "model": job.model, "dtype": job.dtype, "max_model_len": job.max_length,
            "seed": job.seed, "trust_remote_code": job.trust_remote_code,
            "block_size": self.block_size(), "max_num_seqs": options.get("max_num_seqs"),
            "max_num_batched_tokens": options.get("max_num_batched_tokens"),
            "enable_prefix_caching": options.get("prefix_caching", True),
            "enforce_eager": options.get("eager", job.device == "cpu"),
            "gpu_memory_utilization": options.get("gpu_memory_utilization"),
            "kv_cache_memory_bytes": self.pool_bytes(),
            "load_format": "dummy" if job.random_weights else None,
            "skip_tokenizer_init": True, "generation_config": "vllm", "disable_log_stats": False,
            "async_scheduling": scheduling_ahead,
            "worker_extension_cls": "workers.vllm_probe.Probe",
        }  # fmt: skip
        if job.device == "cuda":
            arguments["worker_cls"] = "workers.vllm_gpu.GpuWorker"
        if job.record_kv:
            name = "RecordingAsyncScheduler" if scheduling_ahead else "RecordingScheduler"
            arguments["scheduler_cls"] = f"workers.vllm_scheduler.{name}"
            trace = str(Path(job.folder, "engine.jsonl"))
            policy = options.get("policy", "paged")
            arguments["additional_config"] = {"pagedbench": {"trace": trace, "policy": policy}}
        return {name: value for name, value in arguments.items() if value is not None}

    def block_size(self) -> int | None:
        """Return the block size: as asked, or vLLM's own, or on a CPU the smallest it has there.

        vLLM's default for CPUs is 128 slots; its kernels there take any multiple of the smallest.
        """
        asked: int | None = self.job.options.get("block_size")
        return asked or (None if self.job.device == "cuda" else kv.DEFAULT_BLOCK["cpu"])

    def pool_bytes(self) -> int | None:
        """Return the KV pool's size where it is set; on a CPU it must be."""
        asked: int | None = self.job.kv_budget or self.job.options.get("kv_cache_memory_bytes")
        return asked or (None if self.job.device == "cuda" else kv.DEFAULT_CPU_POOL)

    def batch_size(self, prompts: list[Prompt]) -> int:
        return len(prompts)

    def generate(self, prompts: list[Prompt]) -> None:
        from vllm import SamplingParams

        inputs = [{"prompt_token_ids": prompt.prompt_ids} for prompt in prompts]
        settings = [
            SamplingParams(
                temperature=0.0, max_tokens=prompt.output_tokens, ignore_eos=True,
                detokenize=False, extra_args={"pagedbench_id": prompt.id},
            )
            for prompt in prompts
        ]  # fmt: skip
        outputs = self.llm.generate(inputs, settings, use_tqdm=False)
        self._time(outputs)
        for prompt, output in zip(prompts, outputs, strict=True):
            stats = output.metrics
            self.recorder.request(
                prompt, list(output.outputs[0].token_ids), _ns(stats.scheduled_ts),
                _ns(stats.first_token_ts), _ns(stats.last_token_ts),
            )  # fmt: skip
        self.llm.reset_prefix_cache()  # one batch must not find another's prompts

    def _time(self, outputs: list[Any]) -> None:
        """Take the engine's own timing: its counts, from first arrival to last token.

        Arrivals are stamped on the wall clock, all else on the monotonic one.
        """
        stats = [output.metrics for output in outputs]
        wall_ahead = time.time() - time.monotonic()
        arrived = min(s.arrival_time for s in stats) - wall_ahead
        seconds = max(s.last_token_ts for s in stats) - arrived
        tokens = sum(s.num_generation_tokens for s in stats)
        self._facts.engine_throughput_tokens_per_s = tokens / seconds if seconds > 0 else None

    def arrange(self, point: Point) -> None:
        usable = None
        if point.kv_budget is not None:
            cache = self.llm.llm_engine.vllm_config.cache_config
            block = self._layout.group.bytes_per_block or 0
            usable = min(point.kv_budget // block, cache.num_gpu_blocks) - 1  # the null block
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

        config = self.llm.llm_engine.vllm_config
        self._facts.versions = {
            "torch": str(torch.__version__), "transformers": transformers.__version__,
            "vllm": vllm.__version__,
        }  # fmt: skip
        self._facts.settings = {
            "prefix_caching": config.cache_config.enable_prefix_caching,
            "eager": config.model_config.enforce_eager,
            "async_scheduling": config.scheduler_config.async_scheduling,
            "max_model_len": config.model_config.max_model_len,
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "kv_cache_dtype": config.cache_config.cache_dtype,
            "engine_process": self._facts.engine_process,
        }
        return self._facts

    def close(self) -> None:
        self.llm.llm_engine.engine_core.shutdown()
        self.llm = None

    def _ask(self, method: str, *args: Any) -> Any:
        return self.llm.collective_rpc(method, args=args)[0]


def _ns(seconds: float) -> int | None:
    """vLLM's stamps are time.monotonic() of the same clock; 0.0 means never."""
    return int(seconds * 1e9) if seconds else None
