"""hf-static: a static cache of the maximum length, one request at a time.

The traditional reservation: the cache is allocated once for the longest sequence the server
accepts, whatever each request needs, and is held between requests too.
"""

from typing import Any

from workers.hf_sequential import Steps, Worker as Sequential


class Worker(Sequential):
    """Sequential generation on one static cache, reset between requests."""

    layout = "static"
    cache: Any = None

    def load(self) -> None:
        from transformers import StaticCache

        super().load()
        length = self.job.options.get("max_cache_len") or self.job.max_length
        self.cache = StaticCache(config=self.model.config, max_cache_len=length)
        self._facts["max_cache_len"] = length

    def make_cache(self) -> Any:
        self.cache.reset()
        return self.cache

    def release(self, steps: Steps, cache: Any) -> None:
        """Record that nothing is live, while the reservation stays."""
        keys = cache.layers[0].keys
        self.measure_cache(cache)
        self.recorder.kv(steps.now, live=0, reserved=keys.shape[0] * keys.shape[2], running=0)

    def close(self) -> None:
        self.cache = None
        super().close()
