"""hf-batched: padded batches on a dynamic cache, the usual way to batch with Transformers.

A batch is as long as its longest prompt and runs until its longest output: short requests pad,
and those that ended wait. `sort` takes what waits by the length of its prompt, longest first.
"""

from collections import deque
from collections.abc import Sequence

from traces.job import Prompt
from workers.backend import Tell
from workers.hf_rows import RowsWorker


class Worker(RowsWorker):
    """Batches of as many rows as surely fit the KV budget, of `batch_size` at most."""

    kind = "padded"

    def step(self, until: int, tell: Tell) -> bool:
        if self.job.options.get("sort"):  # by what a server knows: not by output lengths
            waiting = sorted(self._queue, key=lambda prompt: len(prompt.prompt_ids), reverse=True)
            self._queue = deque(waiting)
        return super().step(until, tell)

    def rows(self, queue: Sequence[Prompt]) -> int:
        """Return how many fit when each is as long as the longest prompt and output of them."""
        slots, prompt, output = self.slots(), 0, 0
        for count, each in enumerate(queue):
            prompt = max(prompt, len(each.prompt_ids))
            output = max(output, each.output_tokens)
            if (
                count == self.job.options.get("batch_size")
                or (count + 1) * (prompt + output) > slots
            ):
                return count
        return len(queue)
