"""Drive the asynchronous scheduler as an engine on a GPU does: `python -m tests.workers.ahead`.

The engine schedules step n + 1 before it has the tokens of step n; on a CPU vLLM never does, so
the scheduler is called here in that order, with made-up tokens. Arguments: the model's folder, a
workload.json, the trace to write, the blocks of the pool.
"""

import sys
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from tests.workers.cells import BLOCK, MAX_LENGTH
from tests.workers.tiny import HEAD_DIM, KV_HEADS
from traces.job import Prompt, Workload

IN_FLIGHT = 2  # steps scheduled whose tokens are not known yet


def scheduler(model: str, trace: str, blocks: int) -> Any:
    """Return the recording scheduler of an engine with prefix caching off."""
    import torch
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
    from vllm.v1.structured_output import StructuredOutputManager

    from workers.vllm_scheduler import RecordingAsyncScheduler

    config = EngineArgs(
        model=model, max_model_len=MAX_LENGTH, block_size=BLOCK, skip_tokenizer_init=True,
        enable_prefix_caching=False, enforce_eager=True, dtype="float32",
        additional_config={"pagedbench": {"trace": trace}},
    ).create_engine_config()  # fmt: skip
    config.scheduler_config.async_scheduling = True
    config.cache_config.num_gpu_blocks = blocks
    spec = FullAttentionSpec(
        block_size=BLOCK, num_kv_heads=KV_HEADS, head_size=HEAD_DIM, dtype=torch.float32
    )
    layout = KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)])
    return RecordingAsyncScheduler(
        vllm_config=config, kv_cache_config=layout, block_size=BLOCK, log_stats=False,
        structured_output_manager=StructuredOutputManager(config),
    )  # fmt: skip


def request(prompt: Prompt) -> Any:
    """Return vLLM's own request."""
    from vllm import SamplingParams
    from vllm.v1.request import Request

    settings = SamplingParams(
        max_tokens=prompt.output_tokens, ignore_eos=True,
        extra_args={"pagedbench_id": prompt.id},
    )  # fmt: skip
    return Request(
        request_id=prompt.id, prompt_token_ids=prompt.prompt_ids, sampling_params=settings,
        pooling_params=None,
    )  # fmt: skip


def tokens(output: Any) -> Any:
    """Return what the model runner would: a token for each request of the step."""
    from vllm.v1.outputs import ModelRunnerOutput

    names = list(output.num_scheduled_tokens)
    return ModelRunnerOutput(
        req_ids=names, req_id_to_index={name: row for row, name in enumerate(names)},
        sampled_token_ids=[[7] for _ in names],
    )  # fmt: skip


def main(model: str, workload: str, trace: str, blocks: str) -> None:
    prompts = msgspec.json.decode(Path(workload).read_bytes(), type=Workload).requests
    engine = scheduler(model, trace, int(blocks))
    for prompt in prompts:
        engine.add_request(request(prompt))
    flying: deque[Any] = deque()
    while engine.has_unfinished_requests():
        flying.append(engine.schedule())
        if len(flying) == IN_FLIGHT:
            output = flying.popleft()
            engine.update_from_output(output, tokens(output))
    kept = engine._names, engine._tables, engine._holders
    engine.shutdown()
    if any(kept):
        sys.exit(f"kept of requests that have ended: {kept}")


if __name__ == "__main__":
    main(*sys.argv[1:])
