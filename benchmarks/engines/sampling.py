"""Our vllm backend, but sampling as `vllm bench throughput` does: at temperature 1, never greedy.

That is fixed there, and costs time of its own: random numbers for a whole vocabulary, every
request and step. A comparison must do it on both sides. Everything else is the backend's.
"""

from typing import Any

from workers import vllm_engine

TEMPERATURE = 1.0


class Worker(vllm_engine.Worker):
    """As the backend, with the temperature set on the way into the engine."""

    def load(self) -> None:
        super().load()
        generate = self.llm.generate

        def sampling(inputs: Any, settings: Any, **named: Any) -> Any:
            for each in settings:
                each.temperature = TEMPERATURE
            return generate(inputs, settings, **named)

        self.llm.generate = sampling
