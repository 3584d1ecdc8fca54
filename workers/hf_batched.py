"""hf-batched: padded batches on a dynamic cache, the usual way to batch with Transformers.

A batch is as long as its longest prompt and runs until its longest output: short requests pad,
and those that ended wait.
"""

from traces.job import Prompt
from workers.hf_rows import RowsWorker

DEFAULT_ROWS = 8


class Worker(RowsWorker):
    """Batches of `batch_size` rows, or as many as surely fit the KV budget."""

    kind = "padded"

    def rows(self, prompts: list[Prompt]) -> int:
        asked = int(self.job.options.get("batch_size", DEFAULT_ROWS))
        if self.job.kv_budget is None:
            return asked
        longest = max(len(p.prompt_ids) for p in prompts) + max(p.output_tokens for p in prompts)
        fitting = self.rows_in_budget(longest)
        return min(fitting, asked) if "batch_size" in self.job.options else fitting
