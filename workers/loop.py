"""What every worker process does: import, load, warm up, run, tear down, and record it all.

Started by `traces.control.enter`. Writes worker.jsonl in the cell's folder; what the engine
prints goes to the log. The requests run in the order of the workload; with a time budget, only
the first k that fit, and the orchestrator is told k and the reason.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from traces import clock
from traces.control import Channel
from traces.errors import Problem
from traces.job import Job, Prompt, Workload
from traces.records import Phase
from traces.writer import Writer
from workers.backend import Backend, Deadline, Recorder

WARMUP_REQUESTS, WARMUP_TOKENS = 2, 8


def main(config: dict[str, Any], channel: Channel) -> None:
    """Run one cell. `config` is a Job as builtins plus "module", the backend's module."""
    module = config.pop("module")
    job = msgspec.convert(config, Job)
    prompts = msgspec.json.decode(Path(job.workload).read_bytes(), type=Workload).requests
    backend_class = importlib.import_module(module).Worker
    with Writer(Path(job.folder, "worker.jsonl"), f"worker {job.cell}") as writer:
        recorder = Recorder(writer, job.record_kv)
        recorder.facts({"modules_before_engine": sorted({m.split(".")[0] for m in sys.modules})})
        backend: Backend = backend_class(job, recorder)
        with phase("import", writer, channel):
            backend.import_engine()
        with phase("load", writer, channel):
            backend.load()
        backend.memory("load.end")
        with phase("warmup", writer, channel):
            warm_up(backend, prompts)
        backend.memory("warmup.end")
        writer.flush()
        channel.send("ready")
        go = channel.receive(timeout=None)
        if go is None or go["kind"] != "go":
            return
        with phase("run", writer, channel):
            done, reason = run(backend, job, prompts, recorder, channel)
        backend.memory("run.end")
        recorder.facts(backend.facts())
        with phase("teardown", writer, channel):
            backend.close()
    channel.send("done", requests_run=done, truncated=reason)


@contextmanager
def phase(name: str, writer: Writer, channel: Channel) -> Iterator[None]:
    """Record a phase's edges, on disk and to the orchestrator."""
    for edge in ("begin", "end"):
        if edge == "end":
            yield
        writer.write(Phase(t=clock.now(), name=name, edge=edge))
        writer.flush()
        channel.send("phase", name=name, edge=edge)


def warm_up(backend: Backend, prompts: list[Prompt]) -> None:
    """Generate a little first: compilation, kernel loading and caches belong to no request.

    The prompts are turned round, so that no prefix cache knows them in the run.
    """
    short = [
        Prompt(
            id=f"warmup-{p.id}", prompt_ids=p.prompt_ids[::-1],
            output_tokens=min(WARMUP_TOKENS, p.output_tokens),
        )
        for p in prompts[:WARMUP_REQUESTS]
    ]  # fmt: skip
    backend.generate(short[: backend.batch_size(short)])


def run(
    backend: Backend, job: Job, prompts: list[Prompt], recorder: Recorder, channel: Channel
) -> tuple[int, str]:
    """Run the requests, batch by batch; return how many, and why not all."""
    size = backend.batch_size(prompts)
    if size < 1:
        raise Problem("no request fits the KV budget")
    recorder.arrive = clock.now()
    recorder.finished = 0
    deadline = Deadline(job.budget_s)
    for begin in range(0, len(prompts), size):
        if begin and not deadline.allows_another():
            reason = f"time budget of {job.budget_s:g} s: another batch would pass it"
            return recorder.finished, reason
        backend.generate(prompts[begin : begin + size])
        channel.send("progress", done=recorder.finished, of=len(prompts))
    return recorder.finished, ""
