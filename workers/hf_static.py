"""hf-static: a static cache of the maximum length, by default one request at a time.

The traditional reservation: the cache is allocated once for the longest sequence the server
accepts, whatever each request needs, and is held between requests too. With a KV budget it has
as many rows as fit, and requests share it as a padded batch.
"""

from collections.abc import Sequence
from typing import Any

from traces.job import Prompt
from traces.records import Slots
from workers.hf_rows import RowSteps, RowsWorker


class Worker(RowsWorker):
    """Rows of one static cache, reset between batches."""

    kind = "static"
    cache: Any = None
    _rows = 0

    def open(self) -> None:
        from transformers import StaticCache

        super().open()
        length = self.job.options.get("max_cache_len") or self.job.max_length
        self._rows = self._fitting(length)
        self.longest = min(self.job.max_length, length) if self._rows else 0
        self.cache = StaticCache(config=self.model.config, max_cache_len=length)
        self._facts.max_cache_len = length

    def _fitting(self, length: int) -> int:
        """Return how many rows the cache has: as asked, or one; with a KV budget as many as fit."""
        asked: int | None = self.job.options.get("batch_size")
        if self.job.kv_budget is None:
            return asked or 1
        fitting = self.slots() // length
        return min(fitting, asked) if asked else fitting

    def rows(self, queue: Sequence[Prompt]) -> int:
        return self._rows

    def idle_rows(self, prompts: list[Prompt]) -> int:
        return self._rows - len(prompts)

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
