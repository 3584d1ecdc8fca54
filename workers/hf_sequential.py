"""hf-sequential: Transformers' generate with its default dynamic cache, one request at a time.

The cache grows by one token a step: nothing is reserved, and nothing else can run beside it.
"""

from typing import Any

from traces import clock
from traces.job import Prompt
from workers.hf import HfWorker, synchronize


class Worker(HfWorker):
    """One request after another, on a cache made anew for each."""

    layout = "dynamic"
    row = 0

    def make_cache(self) -> Any:
        """Return an empty cache for one request."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def generate(self, prompts: list[Prompt]) -> None:
        for prompt in prompts:
            self._generate_one(prompt)

    def _generate_one(self, prompt: Prompt) -> None:
        import torch
        from transformers import StoppingCriteriaList

        cache = self.make_cache()
        ids = torch.tensor([prompt.prompt_ids], device=self.job.device)
        steps = Steps(self, cache)
        self.recorder.blocks(steps.start, prompt.id, gained=[self.row], lost=[])
        output = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            generation_config=self.greedy(prompt.output_tokens),
            stopping_criteria=StoppingCriteriaList([steps]),
        )
        token_ids = output[0, len(prompt.prompt_ids) :].tolist()
        self.recorder.blocks(steps.now, prompt.id, gained=[], lost=[self.row])
        self.recorder.request(prompt, token_ids, steps.start, steps.first, steps.now)
        self.release(steps, cache)

    def release(self, steps: "Steps", cache: Any) -> None:
        """Record that the request's slots are free again; the cache itself goes out of scope."""
        self.measure_cache(cache)
        self.recorder.kv(steps.now, live=0, reserved=0, running=0)


class Steps:
    """A stopping criterion that never stops: Transformers calls it once after every step.

    At call n the cache holds prompt + n - 1 tokens. That is the state of the step that ends now,
    so the record carries the time the step began.
    """

    def __init__(self, worker: Worker, cache: Any) -> None:
        self._worker = worker
        self._cache = cache
        self.start = self.now = clock.now()
        self.first: int | None = None

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        begun, self.now = self.now, synchronize(self._worker.job.device)
        self.first = self.first or self.now
        keys = self._cache.layers[0].keys
        self._worker.recorder.kv(
            begun,
            live=int(self._cache.get_seq_length()),
            reserved=keys.shape[0] * keys.shape[2],
            running=1,
        )
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
