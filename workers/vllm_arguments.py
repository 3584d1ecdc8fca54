"""What LLM() is called with: the public options of vLLM that this project depends on."""

import dataclasses
import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from traces import kv
from traces.errors import Problem
from traces.job import Job


def of(job: Job) -> dict[str, Any]:
    """Return what LLM() is called with: the public options this project depends on."""
    options = job.options
    scheduling_ahead = options.get("async_scheduling", job.device == "cuda")
    arguments = {
        "model": job.model, "dtype": job.dtype, "max_model_len": job.max_length,
        "seed": job.seed, "trust_remote_code": job.trust_remote_code,
        "block_size": block_size(job), "max_num_seqs": options.get("max_num_seqs"),
        "max_num_batched_tokens": options.get("max_num_batched_tokens"),
        "enable_prefix_caching": options.get("prefix_caching", True),
        "enforce_eager": options.get("eager", job.device == "cpu"),
        "gpu_memory_utilization": options.get("gpu_memory_utilization"),
        "kv_cache_memory_bytes": pool_bytes(job),
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
    args: dict[str, Any] = options.get("args", {})
    return {name: value for name, value in arguments.items() if value is not None} | args


def refuse_unknown(args: Collection[str]) -> None:
    """Raise Problem for an argument that this vLLM has not."""
    from vllm.engine.arg_utils import EngineArgs

    known = [field.name for field in dataclasses.fields(EngineArgs)]
    for name in args:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mean = f"; did you mean {near[0]!r}?" if near else ""
            raise Problem(f"vllm: args: this vLLM has no argument {name!r}{mean}")


def block_size(job: Job) -> int | None:
    """Return the block size: as asked, or vLLM's own, or on a CPU the smallest it has there.

    vLLM's default for CPUs is 128 slots; its kernels there take any multiple of the smallest.
    """
    asked: int | None = job.options.get("block_size")
    return asked or (None if job.device == "cuda" else kv.DEFAULT_BLOCK["cpu"])


def pool_bytes(job: Job) -> int | None:
    """Return the KV pool's size where it is set; on a CPU it must be."""
    asked: int | None = job.kv_budget or job.options.get("kv_cache_memory_bytes")
    return asked or (None if job.device == "cuda" else kv.DEFAULT_CPU_POOL)
