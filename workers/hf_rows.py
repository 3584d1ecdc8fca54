"""Contiguous caches: requests are rows of one tensor, padded on the left to one length.

The loop that the sequential, static and padded backends share; they differ in the cache they make
and in how many rows they take. A row is as long as the cache, whatever its request needs, and is
held until the whole batch has ended.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from traces import clock
from traces.job import Job, Prompt
from traces.records import Slots
from workers import torch_memory
from workers.backend import Came, Recorder, Tell
from workers.hf import HfWorker, synchronize


class RowsWorker(HfWorker):
    """Generates batches of rows with Transformers' own generate(); requests wait in a queue."""

    def __init__(self, job: Job, recorder: Recorder) -> None:
        super().__init__(job, recorder)
        self._queue: deque[Prompt] = deque()

    def rows(self, queue: Sequence[Prompt]) -> int:
        """Return how many of the first requests in the queue the next batch takes."""
        return 1

    def make_cache(self) -> Any:
        """Return a cache for one batch: by default one that grows with it."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def submit(self, prompt: Prompt, due: int) -> None:
        self._queue.append(prompt)

    def step(self, until: int, tell: Tell) -> bool:
        count = min(self.rows(self._queue), len(self._queue))
        self._facts.batch = max(self._facts.batch or 0, count)
        self.generate([self._queue.popleft() for _ in range(count)], tell)
        return True

    def cancel(self, tell: Tell) -> None:
        self._queue.clear()

    def generate(self, prompts: list[Prompt], tell: Tell) -> None:
        """Run one batch, to the end of its longest request or until `tell` answers to stop."""
        import torch
        from transformers import StoppingCriteriaList

        width = max(len(prompt.prompt_ids) for prompt in prompts)
        limits = [prompt.output_tokens for prompt in prompts] + [0] * self.idle_rows(prompts)
        padded = [[0] * (width - len(p.prompt_ids)) + p.prompt_ids for p in prompts]
        padded += padded[:1] * self.idle_rows(prompts)
        ids = torch.tensor(padded, device=self.job.device)
        mask = torch.ones_like(ids)
        for row, prompt in enumerate(prompts):
            mask[row, : width - len(prompt.prompt_ids)] = 0
        cache = self.make_cache()
        torch_memory.reset_peak(self.job.device)  # what the batch before held is no peak of this
        steps = RowSteps(self, cache, prompts, limits, tell)
        for row, prompt in enumerate(prompts):
            self.recorder.blocks(steps.start, prompt.id, gained=[row], lost=[])
        self.model.generate(
            ids, attention_mask=mask, past_key_values=cache,
            generation_config=self.greedy(max(limits)),
            stopping_criteria=StoppingCriteriaList([steps]),
        )  # fmt: skip
        for row, prompt in enumerate(prompts):
            self.recorder.blocks(steps.now, prompt.id, gained=[], lost=[row])
        self.measure_cache(cache)
        self.released(steps, cache)

    def idle_rows(self, prompts: list[Prompt]) -> int:
        """Return how many rows of the cache this batch leaves without a request."""
        return 0

    def released(self, steps: "RowSteps", cache: Any) -> None:
        """Record that a batch's slots are free again; the cache itself goes out of scope."""
        self.recorder.kv(steps.now, Slots(0, 0), running=0)


class RowSteps:
    """A stopping criterion: Transformers calls it after every step, and it ends rows one by one.

    At call n each row holds its prompt and n - 1 tokens. That is the state of the step that ends
    now, so the record carries the time the step began. Pads and ended rows are held, not stored.
    """

    eos_token_id = None  # that it has this attribute makes generate() pad the rows that ended

    def __init__(
        self, worker: RowsWorker, cache: Any, prompts: list[Prompt], limits: list[int], tell: Tell
    ) -> None:
        import torch

        self._worker = worker
        self._cache = cache
        self._prompts = prompts
        self._lengths = [len(prompt.prompt_ids) for prompt in prompts]
        self._limits = limits
        self._limits_tensor = torch.tensor(limits, device=worker.job.device)
        self._tell = tell
        self._calls = 0
        self.start = self.now = clock.now()

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        begun, self.now = self.now, synchronize(self._worker.job.device)
        self._calls += 1
        self._record(begun)
        for row, limit in enumerate(self._limits):
            if limit == self._calls:
                self._end(row)
        stop = self._tell(self._came(input_ids[:, -1].tolist()))
        return self._limits_tensor <= (max(self._limits) if stop else self._calls)

    def _came(self, ids: list[int]) -> list[Came]:
        """Return what this step gave: a token for each row that had not ended."""
        return [
            Came(prompt.id, [ids[row]], self.now, self._calls == limit, self.start)
            for row, (prompt, limit) in enumerate(zip(self._prompts, self._limits, strict=False))
            if self._calls <= limit
        ]

    def _end(self, row: int) -> None:
        """Record that a row has had its last step, with what the cache's length is without pads."""
        prompt = self._prompts[row]
        pads = max(self._lengths) - self._lengths[row]
        stored = int(self._cache.get_seq_length()) - pads
        self._worker.recorder.blocks(self.now, prompt.id, gained=[], lost=[], stored=stored)

    def _record(self, begun: int) -> None:
        """Record what the rows hold, read from the cache's own tensors and length.

        A step computes a token of each running row, the first one the prompts; pads are none.
        On a GPU the allocator, too: a cache that grows leaves free pieces behind, and its peak
        within a step is what the step needed.
        """
        keys = self._cache.layers[0].keys
        rows, slots = keys.shape[0], keys.shape[2]
        length = int(self._cache.get_seq_length())
        width = length - (self._calls - 1)
        stored = pads = running = 0
        for row, limit in enumerate(self._limits):
            if self._calls <= limit:
                running += 1
                stored += self._lengths[row] + self._calls - 1
                pads += width - self._lengths[row]
            else:
                pads += slots
        self._worker.recorder.kv(
            begun, Slots(rows * slots, stored, pad=pads), running=running,
            computed=stored if self._calls == 1 else running, produced=running,
        )  # fmt: skip
        self._worker.recorder.memory(begun, torch_memory.step(self._worker.job.device))
