"""Drive vLLM's schedulers alone, with made-up tokens: `python -m tests.workers.schedules CASES`.

Synchronous, or as an engine on a GPU does: there step n + 1 is scheduled before the tokens of step
n are known, which vLLM never does on a CPU. Nothing is computed, so many cases take a second.
"""

import sys
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from tests.workers.cells import BLOCK, MAX_LENGTH
from tests.workers.tiny import HEAD_DIM, KV_HEADS
from traces.job import Prompt


class Case(Struct, kw_only=True):
    """One engine: `blocks` that requests may have, `tokens` a step at most, steps in flight."""

    requests: list[Prompt]
    blocks: int
    tokens: int = 2048
    policy: str = "paged"
    in_flight: int = 1
    max_length: int = MAX_LENGTH
    prefix_caching: bool = False


def scheduler(model: str, trace: str, case: Case) -> Any:
    """Return the recording scheduler of an engine."""
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    from workers import vllm_scheduler

    config = EngineArgs(
        model=model, max_model_len=case.max_length, block_size=BLOCK, skip_tokenizer_init=True,
        enable_prefix_caching=case.prefix_caching, enforce_eager=True, dtype="float32",
        max_num_batched_tokens=case.tokens, max_num_seqs=32,
        additional_config={"pagedbench": {"trace": trace, "policy": case.policy}},
    ).create_engine_config()  # fmt: skip
    ahead = case.in_flight > 1
    config.scheduler_config.async_scheduling = ahead
    config.cache_config.num_gpu_blocks = case.blocks + 1  # and the null block
    spec = FullAttentionSpec(
        block_size=BLOCK, num_kv_heads=KV_HEADS, head_size=HEAD_DIM, dtype=torch.float32
    )
    layout = KVCacheConfig(case.blocks + 1, [], [KVCacheGroupSpec(["layer"], spec)])
    name = "RecordingAsyncScheduler" if ahead else "RecordingScheduler"
    return getattr(vllm_scheduler, name)(
        vllm_config=config, kv_cache_config=layout, block_size=BLOCK, log_stats=False,
        structured_output_manager=StructuredOutputManager(config),
    )  # fmt: skip


def request(prompt: Prompt, caching: bool) -> Any:
    """Return vLLM's own request."""
    from vllm import SamplingParams
    from vllm.utils.hashing import sha256
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    settings = SamplingParams(
        max_tokens=prompt.output_tokens, ignore_eos=True,
        extra_args={"pagedbench_id": prompt.id},
    )  # fmt: skip
    init_none_hash(sha256)
    return Request(
        request_id=prompt.id, prompt_token_ids=prompt.prompt_ids, sampling_params=settings,
        pooling_params=None,
        block_hasher=get_request_block_hasher(BLOCK, sha256) if caching else None,
    )  # fmt: skip


def tokens(output: Any, requests: dict[str, Any]) -> Any:
    """Return what the model runner would: a token for each request whose prompt the step ends.

    To be called when the step was just scheduled: a part of a prompt brings none.
    """
    from vllm.v1.outputs import ModelRunnerOutput

    names = list(output.num_scheduled_tokens)
    whole = [requests[n].num_computed_tokens >= requests[n].num_prompt_tokens for n in names]
    return ModelRunnerOutput(
        req_ids=names, req_id_to_index={name: row for row, name in enumerate(names)},
        sampled_token_ids=[[7] if ends else [] for ends in whole],
    )  # fmt: skip


def run(model: str, trace: str, case: Case) -> str:
    """Schedule until all requests have ended; return what is wrong then: of the recorder, which
    must keep nothing of them, and of vLLM's methods, which `paged` must not touch.
    """
    engine = scheduler(model, trace, case)
    for prompt in case.requests:
        engine.add_request(request(prompt, case.prefix_caching))
    flying: deque[Any] = deque()
    while engine.has_unfinished_requests():
        output = engine.schedule()
        flying.append((output, tokens(output, engine.requests)))
        if len(flying) == case.in_flight:
            engine.update_from_output(*flying.popleft())
    kept = engine._names, engine._theirs, engine._tables, engine._holders
    engine.shutdown()
    managers = engine.kv_cache_manager.coordinator.single_type_managers
    wrapped = [name for manager in managers for name, value in vars(manager).items()
               if callable(value) and hasattr(type(manager), name)]  # fmt: skip
    if "allocate_slots" in vars(engine.kv_cache_manager) or (wrapped and case.policy == "paged"):
        return f"not the engine's own method: {wrapped or 'allocate_slots'}"
    return f"kept of requests that have ended: {kept}" if any(kept) else ""


def main(model: str, cases: str) -> None:
    """Run every case; the trace of the first is 0.jsonl beside the file, and so on."""
    path = Path(cases)
    for number, case in enumerate(msgspec.json.decode(path.read_bytes(), type=list[Case])):
        if wrong := run(model, str(path.with_name(f"{number}.jsonl")), case):
            sys.exit(wrong)


if __name__ == "__main__":
    main(*sys.argv[1:])
