"""The real backends, with a second set of eyes: what the engine's own tensors show at each step.

Nothing here reads what the workers count from (allocators, schedulers, block pools). It looks at
what the attention kernels are given: the keys that a cache returns, the places they are written
to and read from, the block tables that the model runner holds. Lines go to spy.jsonl.
"""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

from traces import clock
from traces.job import Job
from workers.backend import Recorder

MODULES = {
    "hf-sequential": "hf_sequential", "hf-static": "hf_static", "hf-batched": "hf_batched",
    "hf-paged": "hf_paged", "vllm": "vllm_engine",
}  # fmt: skip


class Notes:
    """spy.jsonl."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder, "spy.jsonl")

    def write(self, kind: str, **fields: Any) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps({"kind": kind, "t": clock.now(), **fields}) + "\n")


def Worker(job: Job, recorder: Recorder) -> Any:  # noqa: N802  the loop asks for this name
    """Return the backend of this name, watched."""
    module = importlib.import_module(f"workers.{MODULES[job.backend]}")
    watch = {"vllm": watch_vllm, "hf-paged": watch_paged}.get(job.backend, watch_rows)
    worker = module.Worker(job, recorder)
    watch(worker, Notes(job.folder))
    return worker


def after(owner: Any, name: str, then: Any) -> None:
    """Call `then(result, *args, **kwargs)` after each call of a function or method."""
    function = getattr(owner, name)

    @functools.wraps(function)  # Transformers looks at the signature of forward()
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        then(result, *args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def watch_rows(worker: Any, notes: Notes) -> None:
    """Contiguous caches: shapes and bytes of the keys and values attention is given, and masks."""

    def updated(result: Any, keys: Any, values: Any, layer: int, *rest: Any) -> None:
        if layer == 0:
            rows, _, slots, _ = result[0].shape
            notes.write("step", rows=rows, slots=slots, written=keys.shape[2])

    def made(cache: Any) -> None:
        if not hasattr(cache, "watched"):
            cache.watched = True
            after(cache, "update", updated)

    def generated(result: Any, *batch: Any) -> None:
        layers = worker.last.layers
        size = sum(t.untyped_storage().nbytes() for a in layers for t in (a.keys, a.values))
        rows, _, slots, _ = layers[0].keys.shape
        notes.write("batch", bytes=size, rows=rows, slots=slots)

    def keep(cache: Any) -> None:
        worker.last = cache
        made(cache)

    def called(result: Any, *args: Any, attention_mask: Any = None, **kwargs: Any) -> None:
        keys = worker.last.layers[0].keys
        seen = [keys.shape[2]] * keys.shape[0]  # without a mask every key may be seen
        notes.write("mask", visible=seen if attention_mask is None else visible(attention_mask))

    after(worker, "make_cache", keep)
    after(worker, "generate", generated)
    after(worker, "open", lambda result: after(worker.model, "forward", called))


def visible(mask: Any) -> list[int]:
    """How many places the newest token of each row may see; a 4D mask is True there, or 0.0."""
    if mask.dim() == 4:
        mask = mask[:, 0, -1]
        mask = mask == 0 if mask.dtype.is_floating_point else mask
    seen: list[int] = mask.sum(dim=-1).tolist()
    return seen


def watch_paged(worker: Any, notes: Notes) -> None:
    """Transformers' pages: where the keys of a batch are written, and where attention reads.

    All requests of a batch are handed over before the first step, so that the schedule can be
    worked out by hand.
    """

    def updated(result: Any, cache: Any, **call: Any) -> None:
        given = call["kwargs"]
        if call["layer_idx"] != 0:
            return
        allocator = cache.layer_to_allocator[0]
        read, written = (given[n][allocator.index].tolist() for n in ("read_index", "write_index"))
        stride = allocator.block_physical_stride
        places = set(read) | set(written)
        ends = given["cu_seq_lens_k"].tolist()
        notes.write(
            "step", written=len(written), places=len(places), stored=ends[-1],
            blocks=sorted({place // stride for place in places}), sequences=len(ends) - 1,
        )  # fmt: skip

    def imported(result: Any) -> None:
        from transformers.generation.continuous_batching.cache import PagedAttentionCache

        after(PagedAttentionCache, "update", updated)

    def loaded(result: Any) -> None:
        manager = worker.manager
        waiting: list[tuple[list[int], dict[str, Any]]] = []
        add, answer = manager.add_request, manager.get_result

        def get_result(*args: Any, **kwargs: Any) -> Any:
            if waiting:
                with manager.pause():
                    for ids, settings in waiting:
                        add(ids, **settings)
                    waiting.clear()
            return answer(*args, **kwargs)

        def add_request(ids: list[int], **settings: Any) -> str:
            waiting.append((ids, settings))
            return str(settings["request_id"])

        manager.add_request = add_request
        manager.get_result = get_result
        cache = manager.batch_processor.cache
        notes.write("pool", bytes=cache.cache_tensor.untyped_storage().nbytes())

    after(worker, "prepare", imported)
    after(worker, "open", loaded)


def watch_vllm(worker: Any, notes: Notes) -> None:
    """vLLM: the block tables and lengths in the model runner, and the engine's own gauges."""

    def ran(result: Any, runner: Any, output: Any, *args: Any, **kwargs: Any) -> None:
        if not output.total_num_scheduled_tokens:
            return
        batch, places, blocks, sums = runner.input_batch, set(), set(), 0
        table = batch.block_table[0]
        size = table.block_size
        for row, request in enumerate(batch.req_ids):
            length = int(batch.num_computed_tokens_cpu[row]) + output.num_scheduled_tokens[request]
            held = table.block_table.np[row, : table.num_blocks_per_row[row]].tolist()
            blocks.update(held)
            sums += len(held)
            places |= {(held[token // size], token % size) for token in range(length)}
        notes.write(
            "step", places=len(places), blocks=sorted(blocks), tables=sums,
            sequences=len(batch.req_ids), written=output.total_num_scheduled_tokens,
        )  # fmt: skip

    def imported(result: Any) -> None:
        from vllm.v1.worker.gpu_model_runner import GPUModelRunner

        after(GPUModelRunner, "execute_model", ran)

    def loaded(result: Any) -> None:
        engine = worker.llm.llm_engine
        record = engine.logger_manager.record

        def recorded(*args: Any, **kwargs: Any) -> Any:
            stats = kwargs["scheduler_stats"] if "scheduler_stats" in kwargs else args[0]
            per_step = kwargs["iteration_stats"] if "iteration_stats" in kwargs else args[1]
            if stats is not None:
                notes.write(
                    "gauge", usage=stats.kv_cache_usage, running=stats.num_running_reqs,
                    waiting=stats.num_waiting_reqs,
                    preempted=per_step.num_preempted_reqs if per_step else 0,
                )  # fmt: skip
            return record(*args, **kwargs)

        engine.logger_manager.record = recorded
        runner = engine.model_executor.driver_worker.worker.model_runner
        storages = {}
        for tensor in runner.kv_caches:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        notes.write("pool", bytes=sum(storages.values()))

    after(worker, "prepare", imported)
    after(worker, "open", loaded)
