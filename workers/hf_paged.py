"""hf-paged: Transformers' own continuous batching on its paged cache.

Its scheduler is found by name in a table, to which this adds one that counts after scheduling.
Its default pool is most of the device's free memory, as vLLM's is.

Without flash attention it also makes, up front, a mask of `max_batch_tokens` rows over all slots of
the pool: gigabytes at its defaults, which are kept, for that is what its users get.
"""

import time
from collections.abc import Container, Iterator
from typing import Any

from traces import clock, kv
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Job, Prompt
from traces.layout import Layout
from workers import torch_memory
from workers.backend import Came, Recorder, Tell
from workers.hf import HfWorker
from workers.hf_paged_view import ANSWER_S, PagedView

AT_ONCE = 256  # answers told together: those of one step, mostly
REST_S = 60.0  # to give up requests: a forward pass under way ends first


class Worker(HfWorker):
    """One manager for warm-up and run; the pool is taken when it starts."""

    kind = "paged"
    manager: Any = None
    view: PagedView

    def __init__(self, job: Job, recorder: Recorder) -> None:
        super().__init__(job, recorder)
        self._known: dict[str, int] = {}  # tokens told, by request

    def open(self) -> None:
        super().open()
        import inspect

        from transformers import ContinuousBatchingConfig

        options = self.job.options
        page = options.get("block_size") or kv.HF_PAGE
        known = inspect.signature(ContinuousBatchingConfig).parameters
        sizes = {"page_size" if "page_size" in known else "block_size": page}
        if self.job.kv_budget or self.job.device == "cpu":
            sizes["num_blocks"] = self.slots() // page - 2  # two spare ones are added to it
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
        self.longest = min(self.job.max_length, self.view.blocks() * self.view.block_size)

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

    def submit(self, prompt: Prompt, due: int) -> None:
        self._known[prompt.id] = 0
        added = self.manager.add_request(
            prompt.prompt_ids, request_id=prompt.id, max_new_tokens=prompt.output_tokens,
            record_timestamps=True, streaming=True, eos_token_id=-1,
        )  # fmt: skip
        if added is None:
            raise RuntimeError("continuous batching stopped: it takes no more requests")

    def step(self, until: int, tell: Tell) -> bool:
        came = self._answers(min(ANSWER_S, max(0.0, (until - clock.now()) / 1e9)))
        if came:
            tell(came)
        elif not self.manager.is_running():
            raise RuntimeError("continuous batching stopped before all requests had ended")
        return bool(came) or self.view.running()

    def cancel(self, tell: Tell) -> None:
        tell(self._answers(0.0))
        for request in self._known:
            self.manager.cancel_request(request)
        end = time.monotonic() + REST_S
        while self._known and not self._at_rest():
            if time.monotonic() > end:
                raise RuntimeError(
                    f"requests are still there {REST_S:g} s after they were given up"
                )
            time.sleep(0.001)
        self._known.clear()
        while self.manager.get_result(timeout=0) is not None:
            pass  # of requests that were given up
        self.view.settle()

    def _at_rest(self) -> bool:
        queues = (self.manager.input_queue, self.manager.cancel_queue)
        return all(queue.empty() for queue in queues) and not self.view.pending()

    def _answers(self, wait_s: float) -> list[Came]:
        """Return the tokens that came: wait for the first, and take what is there then."""
        came: list[Came] = []
        output = self.manager.get_result(timeout=wait_s)
        while output is not None:
            came += self._came(output)
            output = self.manager.get_result(timeout=0) if len(came) < AT_ONCE else None
        return came

    def _came(self, output: Any) -> Iterator[Came]:
        """Return the tokens of an answer that were not told before.

        It has all of a request's tokens, but where the request gave way and started anew only the
        stamps since. Stamps are time.perf_counter(), on Linux the monotonic clock.
        """
        name, ids = output.request_id, output.generated_tokens
        if output.error is not None:
            raise RuntimeError(f"request {name}: {output.error}")
        new = len(ids) - self._known[name]
        self._known[name] = len(ids)
        if output.is_finished():
            del self._known[name]
        start = int(output.lifespan[0] * 1e9) if output.lifespan[0] > 0 else None
        for left in range(new, 0, -1):
            ended = output.is_finished() and left == 1
            yield Came(name, [ids[-left]], int(output.timestamps[-left] * 1e9), ended, start)

    def facts(self) -> EngineFacts:
        facts = super().facts()
        facts.settings = {**(facts.settings or {}), **self.view.settings()}
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
