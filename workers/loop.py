"""What every worker process does: import, load, warm up, run, tear down, and record it all.

Started by `traces.control.enter`. Writes worker.jsonl in the cell's folder; what the engine
prints goes to the log. `workers.drive` offers the requests in the order of the workload.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from traces import clock
from traces.control import Channel
from traces.facts import EngineFacts
from traces.job import Job, Point, Prompt, Workload
from traces.messages import Done, Edge, Go, Progress, Ready
from traces.messages import Phase as PhaseMessage
from traces.records import Phase
from traces.writer import Writer
from workers import torch_memory
from workers.backend import Backend, Recorder, Swept
from workers.drive import Outcome, drive, refuse

WARMUP_REQUESTS, WARMUP_TOKENS = 2, 8
READ_S = 3.0  # longer than the orchestrator waits for the sampler; then on, whatever it does


def main(job: Job, channel: Channel) -> None:
    """Run one cell."""
    prompts = msgspec.json.decode(Path(job.workload).read_bytes(), type=Workload).requests
    backend_class = importlib.import_module(job.module).Worker
    with Writer(Path(job.folder, "worker.jsonl"), f"worker {job.cell}") as writer:
        recorder = Recorder(writer, job.record_kv)
        before = sorted({name.split(".")[0] for name in sys.modules})
        recorder.facts(EngineFacts(modules_before_engine=before))
        backend: Swept = backend_class(job, recorder)
        with phase("import", writer, channel):
            backend.prepare()
        if job.device == "cpu":
            recorder.alloc("import.end", **torch_memory.heap())
            recorder.facts(torch_memory.mappings("import.end"))
        with phase("load", writer, channel):
            backend.open()
        backend.memory("load.end")
        with phase("warmup", writer, channel):
            refuse(backend, prompts)
            drive(backend, short(prompts[:WARMUP_REQUESTS], WARMUP_TOKENS), recorder)
        backend.memory("warmup.end")
        recorder.layout(backend.layout())
        recorder.facts(backend.facts())  # a cell that dies in its run is understood by these
        writer.flush()
        windows: list[Point | None] = [*job.points] or [None]
        for point in windows:
            if point is not None:
                backend.arrange(point)
            channel.send(Ready())
            if not isinstance(channel.receive(timeout=None), Go):
                return
            with phase("run", writer, channel, None if point is None else point.name):
                done = run(backend, job, prompts, recorder, channel)
            backend.memory("run.end")
            if job.device == "cpu":
                recorder.facts(torch_memory.mappings("run.end"))
            recorder.facts(backend.facts())
            channel.receive(timeout=READ_S)  # Go: memory at its end was read outside too
        with phase("teardown", writer, channel):
            backend.close()
    channel.send(Done(requests_run=done.finished, truncated="", ended=done.ended))


@contextmanager
def phase(name: str, writer: Writer, channel: Channel, point: str | None = None) -> Iterator[None]:
    """Record a phase's edges, on disk and to the orchestrator."""
    _edge(name, "begin", writer, channel, point)
    yield
    _edge(name, "end", writer, channel, point)


def _edge(name: str, edge: Edge, writer: Writer, channel: Channel, point: str | None) -> None:
    writer.write(Phase(t=clock.now(), name=name, edge=edge, point=point))
    writer.flush()
    channel.send(PhaseMessage(name=name, edge=edge))


def short(prompts: list[Prompt], tokens: int) -> list[Prompt]:
    """Return requests to warm up with: compilation and kernel loading belong to no request.

    The prompts are turned round, so that no prefix cache knows them in the run; outputs have at
    most `tokens`.
    """
    return [
        Prompt(
            id=f"warmup-{p.id}", prompt_ids=p.prompt_ids[::-1],
            output_tokens=min(tokens, p.output_tokens),
        )
        for p in prompts
    ]  # fmt: skip


def run(
    backend: Backend, job: Job, prompts: list[Prompt], recorder: Recorder, channel: Channel
) -> Outcome:
    """Run the requests as the job says; return how that ended."""

    def report(finished: int) -> None:
        channel.send(Progress(done=finished, of=len(prompts)))

    done = drive(
        backend, prompts, recorder, concurrency=job.concurrency, budget_s=job.budget_s,
        report=report,
    )  # fmt: skip
    report(done.finished)
    if done.ended:
        recorder.facts(EngineFacts(extras={"overshoot_s": done.overshoot / 1e9}))
    return done
