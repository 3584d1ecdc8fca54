"""Which of vLLM's own arguments (EngineArgs) a suite may give beside the options: `args = {...}`.

Any, but those that pagedbench sets itself, and those that break the counting. Whether vLLM knows
the rest, its own process says: the orchestrator never imports it.
"""

from collections.abc import Mapping
from typing import Any

from traces.errors import Problem

OPTION = {
    "block_size": "block_size", "enable_prefix_caching": "prefix_caching", "enforce_eager": "eager",
    "async_scheduling": "async_scheduling", "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "kv_cache_memory_bytes": "kv_cache_memory_bytes",
}  # fmt: skip
"""Arguments that have an option of their own, by the option's name."""
SUITE = {
    "model": "model", "tokenizer": "model", "dtype": "dtype", "max_model_len": "max_length",
    "seed": "seed", "trust_remote_code": "trust_remote_code",
}  # fmt: skip
"""Arguments that the suite sets for all backends, by its key."""
BREAKS = {
    **dict.fromkeys(
        ("speculative_config", "spec_method", "spec_model", "spec_tokens", "diffusion_config"),
        "a step no longer gives one token to a request",
    ),
    "stream_interval": "tokens are no longer told as they come",
    **dict.fromkeys(
        ("kv_transfer_config", "kv_offloading_size", "kv_offloading_backend", "ec_transfer_config"),
        "blocks are held by others than requests",
    ),
    **dict.fromkeys(
        ("scheduler_cls", "worker_cls", "worker_extension_cls", "additional_config"),
        "the counting is in it",
    ),
    **dict.fromkeys(
        ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "nnodes",
         "prefill_context_parallel_size", "decode_context_parallel_size"),
        "one device is counted",
    ),
    **dict.fromkeys(
        ("disable_log_stats", "skip_tokenizer_init", "generation_config", "load_format",
         "override_generation_config", "logits_processors"),
        "every backend generates from the same ids, greedily, and is timed",
    ),
}  # fmt: skip
"""Arguments that may not be changed, and why not."""


def check(args: Mapping[str, Any], where: str) -> None:
    """Raise Problem for the first argument that may not be given so."""
    for name in args:
        if name in OPTION:
            raise Problem(f"{where}: args: {name} is the option {OPTION[name]}: write that")
        if name in SUITE:
            raise Problem(f"{where}: args: {name} is the suite's {SUITE[name]}: write that")
        if name in BREAKS:
            raise Problem(f"{where}: args: {name} is refused, for {BREAKS[name]}: leave it out")
