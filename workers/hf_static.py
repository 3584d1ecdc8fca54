"""hf-static: a static cache of the maximum length, by default one request at a time.

The traditional reservation: the cache is allocated once for the longest sequence the server
accepts, whatever each request needs, and is held between requests too. With a KV budget it has
as many rows as fit, and requests share it as a padded batch.
"""

from typing import Any

from traces.job import Prompt
from traces.records import Slots
from workers.hf_rows import RowSteps, RowsWorker


class Worker(RowsWorker):
    """Rows of one static cache, reset between batches."""

    kind = "static"
    cache: Any = None

    def load(self) -> None:
        from transformers import StaticCache

        super().load()
        self.length = self.job.options.get("max_cache_len") or self.job.max_length
        self.cache = StaticCache(config=self.model.config, max_cache_len=self.length)
        self._facts.max_cache_len = self.length

    def rows(self, prompts: list[Prompt]) -> int:
        asked = self.job.options.get("batch_size")
        if self.job.kv_budget is None:
            return int(asked or 1)
        fitting = self.rows_in_budget(self.length)
        return min(fitting, int(asked)) if asked else fitting

    def idle_rows(self, prompts: list[Prompt]) -> int:
        return self.rows(prompts) - len(prompts)

    def make_cache(self) -> Any:
        self.cache.reset()
        return self.cache

    def released(self, steps: RowSteps, cache: Any) -> None:
        """Record that nothing is stored, while the rows stay held."""
        keys = cache.layers[0].keys
        self.recorder.kv(steps.now, Slots(keys.shape[0] * keys.shape[2], 0), running=0)

    def close(self) -> None:
        self.cache = None
        super().close()
