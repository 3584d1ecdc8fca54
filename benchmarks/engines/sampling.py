"""Our vllm backend, but sampling as `vllm bench throughput` does: at temperature 1, never greedy.

That is fixed there, and costs time of its own: random numbers for a whole vocabulary, every
request and step. A comparison must do it on both sides. Everything else is the backend's.
"""

from typing import Any

from traces.job import Prompt
from workers import vllm_engine

TEMPERATURE = 1.0


class Worker(vllm_engine.Worker):
    """As the backend, with another temperature."""

    def sampling(self, prompt: Prompt) -> Any:
        settings = super().sampling(prompt)
        settings.temperature = TEMPERATURE
        return settings
