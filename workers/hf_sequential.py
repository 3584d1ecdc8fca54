"""hf-sequential: Transformers' generate with its default dynamic cache, one request at a time.

The cache grows by one token a step: nothing is held ahead, and nothing else can run beside it.
"""

from traces.job import Prompt
from workers.hf_rows import RowsWorker


class Worker(RowsWorker):
    """One request after another, on a cache made anew for each."""

    kind = "dynamic"

    def rows(self, prompts: list[Prompt]) -> int:
        if self.job.kv_budget is None:
            return 1
        return min(1, self.rows_in_budget(max(prompt.total for prompt in prompts)))
