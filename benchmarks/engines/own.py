"""How each engine is run without us: what `closed` compares our driving with, in one engine.

Each function returns an arm that generates requests of one output length as anyone would with the
engine that a worker has opened, on the same cache and kernels, and returns the tokens that came.
"""

from collections.abc import Callable
from typing import Any

from traces.job import Prompt

Arm = Callable[[list[Prompt]], int]


def rows(worker: Any) -> Arm:
    """A loop over Transformers' generate, batch by batch, padded on the left."""
    import torch

    def batch(prompts: list[Prompt]) -> int:
        width = max(len(prompt.prompt_ids) for prompt in prompts)
        pads = [width - len(prompt.prompt_ids) for prompt in prompts]
        ids = [[0] * n + p.prompt_ids for n, p in zip(pads, prompts, strict=True)]
        mask = [[0] * n + [1] * (width - n) for n in pads]
        output = worker.model.generate(
            torch.tensor(ids, device=worker.job.device),
            attention_mask=torch.tensor(mask, device=worker.job.device),
            past_key_values=worker.make_cache(), max_new_tokens=prompts[0].output_tokens,
        )  # fmt: skip
        return sum(len(row) - width for row in output.tolist())

    def generate(prompts: list[Prompt]) -> int:
        size = worker.rows(prompts)
        return sum(batch(prompts[n : n + size]) for n in range(0, len(prompts), size))

    return generate


def paged(worker: Any) -> Arm:
    """Transformers' manager: add the requests, take each when it has ended."""

    def generate(prompts: list[Prompt]) -> int:
        for prompt in prompts:
            worker.manager.add_request(
                prompt.prompt_ids, request_id=prompt.id, max_new_tokens=prompt.output_tokens,
                eos_token_id=-1,
            )  # fmt: skip
        left, tokens = len(prompts), 0
        while left:
            output = worker.manager.get_result(timeout=1)
            if output is not None and output.is_finished():
                left, tokens = left - 1, tokens + len(output.generated_tokens)
        return tokens

    return generate


def vllm(worker: Any) -> Arm:
    """`LLM.generate`, as `vllm bench throughput` calls it."""
    from vllm import SamplingParams

    def generate(prompts: list[Prompt]) -> int:
        inputs = [{"prompt_token_ids": prompt.prompt_ids} for prompt in prompts]
        settings = [
            SamplingParams(
                n=1, temperature=0.0, ignore_eos=True, max_tokens=prompt.output_tokens,
                detokenize=False,
            )
            for prompt in prompts
        ]  # fmt: skip
        outputs = worker.llm.generate(inputs, settings, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        worker.llm.reset_prefix_cache()  # as we do: the next run is of the same prompts
        return tokens

    return generate


OWN: dict[str, Callable[[Any], Arm]] = {
    "hf-sequential": rows, "hf-static": rows, "hf-batched": rows, "hf-paged": paged, "vllm": vllm,
}  # fmt: skip
