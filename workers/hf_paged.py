"""hf-paged: Transformers' own continuous batching on its paged cache.

Its scheduler is found by name in a table, to which this adds one that counts after scheduling.
The names inside differ between Transformers 5.17 and later: `PagedView` is the one place that
knows. Its default pool is most of the device's free memory, as vLLM's is.

Without flash attention it also makes, up front, a mask of `max_batch_tokens` rows over all slots of
the pool: gigabytes at its defaults, which are kept, for that is what its users get.
"""

from collections.abc import Container
from typing import Any

from traces import clock, kv
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Prompt
from traces.layout import Layout
from workers import torch_memory
from workers.hf import HfWorker
from workers.hf_paged_view import ANSWER_S, PagedView

PREEMPTED = "preempted: Transformers starts such a request anew and keeps no earlier times"


class Worker(HfWorker):
    """One manager for warm-up and run; the pool is taken when it starts."""

    kind = "paged"
    manager: Any = None
    view: PagedView

    def load(self) -> None:
        super().load()
        import inspect

        from transformers import ContinuousBatchingConfig

        options = self.job.options
        page = options.get("block_size") or kv.DEFAULT_BLOCK[self.job.device]
        known = inspect.signature(ContinuousBatchingConfig).parameters
        sizes = {"page_size" if "page_size" in known else "block_size": page}
        if self.job.kv_budget or self.job.device == "cpu":
            sizes["num_blocks"] = self.rows_in_budget(page) - 2  # two spare ones are added to it
        if "max_batch_tokens" in options:
            sizes["max_batch_tokens"] = options["max_batch_tokens"]
        config = ContinuousBatchingConfig(
            **sizes, **self._keep_attention(known), scheduler_type=_register(self),
            allow_block_sharing=options.get("prefix_caching", True),
        )  # fmt: skip
        settings = self.greedy(1)
        settings.eos_token_id = -1
        self.manager = self.model.init_continuous_batching(
            generation_config=settings, continuous_batching_config=config
        )
        if (used := self.attention()) != (asked := options.get("attention", used)):
            raise Problem(f"attention {asked} was asked for, and Transformers would use {used}")
        self.manager.warmup()
        self.manager.start()

    def _keep_attention(self, known: Container[str]) -> dict[str, bool]:
        """Return the setting by which an attention that was asked for stays.

        Left alone, continuous batching switches to flash attention where that is installed.
        Transformers 5.17 has no such setting, and keeps what is called "paged|" already.
        """
        asked = self.job.options.get("attention")
        if asked is None:
            return {}
        if "auto_switch_to_flash" in known:
            return {"auto_switch_to_flash": False}
        self.model.set_attn_implementation(f"paged|{asked}")
        return {}

    def attention(self) -> str:
        return super().attention().removeprefix("paged|")

    def masks(self) -> list[Any]:
        """Return the masks that were made up front: one for each kind of attention, or none."""
        masks = getattr(self.manager.batch_processor.inputs_and_outputs, "attention_mask", None)
        return list(masks.values()) if isinstance(masks, dict) else []

    def batch_size(self, prompts: list[Prompt]) -> int:
        room = self.view.blocks() * self.view.block_size
        return len(prompts) if max(prompt.total for prompt in prompts) <= room else 0

    def generate(self, prompts: list[Prompt]) -> None:
        asked = {}
        for prompt in prompts:
            asked[prompt.id] = prompt
            self.manager.add_request(
                prompt.prompt_ids, request_id=prompt.id, max_new_tokens=prompt.output_tokens,
                record_timestamps=True, eos_token_id=-1,
            )  # fmt: skip
        while asked:
            output = self.manager.get_result(timeout=ANSWER_S)
            if output is not None and output.is_finished():
                self._take(asked.pop(output.request_id), output)
            elif output is None and not self.manager.is_running():
                raise RuntimeError("continuous batching stopped before all requests had ended")
        self.view.settle()

    def _take(self, prompt: Prompt, output: Any) -> None:
        """Record a result. Its stamps are time.perf_counter(), on Linux the monotonic clock."""
        if output.error is not None:
            raise RuntimeError(f"request {prompt.id}: {output.error}")
        stamps = [int(stamp * 1e9) for stamp in output.timestamps or []]
        start = int(output.lifespan[0] * 1e9) if output.lifespan[0] > 0 else None
        first, last = (stamps[0], stamps[-1]) if stamps else (None, None)
        why = None
        if len(stamps) < len(output.generated_tokens):
            start, first, why = None, None, dict.fromkeys(("start", "first"), PREEMPTED)
        self.recorder.request(prompt, list(output.generated_tokens), start, first, last, why)

    def facts(self) -> EngineFacts:
        facts = super().facts()
        facts.settings = {"attention": self.attention(), **self.view.settings()}
        facts.mask_bytes = torch_memory.tensor_bytes(self.masks())
        facts.num_blocks = self.view.blocks()
        return facts

    def layout(self) -> Layout:
        self.view.lay_out(super().layout())
        return self._layout

    def close(self) -> None:
        self.manager.stop(block=True, timeout=10)
        self.manager.destroy()
        self.manager = None
        del self.view
        super().close()


def _register(worker: Worker) -> str:
    """Add a scheduler that counts to Transformers' table and return its name."""
    from transformers.generation.continuous_batching.scheduler import (
        SCHEDULER_MAPPING,
        FIFOScheduler,
    )

    class CountingScheduler(FIFOScheduler):
        def __init__(self, cache: Any, *args: Any, **kwargs: Any) -> None:
            super().__init__(cache, *args, **kwargs)
            worker.view = PagedView(worker.recorder, cache, self)

        def schedule_batch(self, *args: Any, **kwargs: Any) -> Any:
            begun = clock.now()
            result = super().schedule_batch(*args, **kwargs)
            scheduled = result[0] if isinstance(result, tuple) else result
            if scheduled:
                worker.view.count(begun, scheduled)
            return result

    SCHEDULER_MAPPING["pagedbench"] = CountingScheduler
    return "pagedbench"
