"""What every worker process does: import, load, warm up, run, tear down, and record it all.

Started by `traces.control.enter`. Writes worker.jsonl in the cell's folder; what the engine
prints goes to the log. The requests run in the order of the workload; with a time budget, only
the first k that fit, and the orchestrator is told k and the reason.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import msgspec

from traces import clock
from traces.control import Channel
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Job, Point, Prompt, Workload
from traces.messages import Done, Edge, Go, Progress, Ready
from traces.messages import Phase as PhaseMessage
from traces.records import Phase
from traces.writer import Writer
from workers import torch_memory
from workers.backend import Backend, Deadline, Recorder, Span

WARMUP_REQUESTS, WARMUP_TOKENS = 2, 8
READ_S = 3.0  # longer than the orchestrator waits for the sampler; then on, whatever it does
PACE = {"cpu": (16, 16), "cuda": (128, 32)}  # requests and tokens of the pace trial


def main(job: Job, channel: Channel) -> None:
    """Run one cell."""
    prompts = msgspec.json.decode(Path(job.workload).read_bytes(), type=Workload).requests
    backend_class = importlib.import_module(job.module).Worker
    with Writer(Path(job.folder, "worker.jsonl"), f"worker {job.cell}") as writer:
        recorder = Recorder(writer, job.record_kv)
        before = sorted({name.split(".")[0] for name in sys.modules})
        recorder.facts(EngineFacts(modules_before_engine=before))
        backend: Backend = backend_class(job, recorder)
        with phase("import", writer, channel):
            backend.import_engine()
        if job.device == "cpu":
            recorder.alloc("import.end", **torch_memory.heap())
            recorder.facts(torch_memory.mappings("import.end"))
        with phase("load", writer, channel):
            backend.load()
        backend.memory("load.end")
        with phase("warmup", writer, channel):
            pace = warm_up(backend, prompts, recorder, job.budget_s, job.device)
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
                done, reason = run(backend, job, prompts, recorder, channel, pace)
            backend.memory("run.end")
            if job.device == "cpu":
                recorder.facts(torch_memory.mappings("run.end"))
            recorder.facts(backend.facts())
            channel.receive(timeout=READ_S)  # Go: memory at its end was read outside too
        with phase("teardown", writer, channel):
            backend.close()
    channel.send(Done(requests_run=done, truncated=reason))


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


def warm_up(
    backend: Backend, prompts: list[Prompt], recorder: Recorder, budget_s: float | None, device: str
) -> "Pace | None":
    """Generate a little first: compilation, kernel loading and caches belong to no request.

    The prompts are turned round, so that no prefix cache knows them in the run. With a time
    budget, an engine that takes the whole workload at once also shows its pace here: it cannot
    be stopped on the way.
    """
    first = short(prompts[:WARMUP_REQUESTS], WARMUP_TOKENS, "warmup")
    size = batch_size(backend, prompts)
    backend.generate(first[: batch_size(backend, first)])
    if budget_s is None or size < len(prompts):
        return None
    requests, tokens = PACE[device]
    trial = short(prompts[:requests], tokens, "pace")
    recorder.spans.clear()
    begun = time.monotonic()
    backend.generate(trial)
    return Pace(time.monotonic() - begun, trial, recorder.spans, budget_s)


def batch_size(backend: Backend, prompts: list[Prompt]) -> int:
    """Return how many of these requests the backend takes at once. Raises Problem for none."""
    size = backend.batch_size(prompts)
    if size < 1:
        raise Problem("the KV budget is under one request: raise kv_budget or shorten it")
    return size


def short(prompts: list[Prompt], tokens: int, label: str) -> list[Prompt]:
    """Return the prompts turned round, with outputs of at most `tokens`."""
    return [
        Prompt(
            id=f"{label}-{p.id}", prompt_ids=p.prompt_ids[::-1],
            output_tokens=min(tokens, p.output_tokens),
        )
        for p in prompts
    ]  # fmt: skip


class Pace:
    """How fast a whole-batch engine went in its warm-up, and how many requests fit by that.

    Steps that only decode are told from the rest, which is put down to the prompts: a short trial
    is mostly prompts. A prefix of the workload takes its prompts' time, and then as long as its
    tokens at the trial's rate, or as its longest output at a step each. The rate is that of the
    requests that ran at once: with a small pool they are not all of the trial. More at once only
    raise it.
    """

    def __init__(
        self, seconds: float, trial: list[Prompt], spans: list[Span], budget_s: float
    ) -> None:
        self.step = min((s.last - s.first) / 1e9 / s.steps for s in spans) if spans else seconds
        self.in_flight = _overlapping(spans)
        decode = sum(span.steps for span in spans) * self.step / self.in_flight
        prompt_tokens = sum(len(prompt.prompt_ids) for prompt in trial)
        self.prompt_token = max(0.0, seconds - decode) / prompt_tokens
        self.budget_s = budget_s

    def fitting(self, prompts: list[Prompt]) -> int:
        """Return how many of the first requests fit the budget; one at least."""
        prompt_tokens = tokens = longest = 0
        for count, prompt in enumerate(prompts):
            prompt_tokens += len(prompt.prompt_ids)
            tokens += prompt.output_tokens
            longest = max(longest, prompt.output_tokens)
            steps = max(longest, tokens / self.in_flight)
            if count and prompt_tokens * self.prompt_token + steps * self.step > self.budget_s:
                return count
        return len(prompts)

    def __str__(self) -> str:
        return f"{self.step * 1000:.1f} ms a step of {self.in_flight} requests"


def _overlapping(spans: list[Span]) -> int:
    """Return how many requests decoded at once, at most; 1 where none did."""
    edges = sorted([(span.first, 1) for span in spans] + [(span.last, -1) for span in spans])
    return max(accumulate(by for _, by in edges), default=1)


def run(
    backend: Backend, job: Job, prompts: list[Prompt], recorder: Recorder, channel: Channel,
    pace: Pace | None,
) -> tuple[int, str]:  # fmt: skip
    """Run the requests, batch by batch; return how many, and why not all."""
    budget = f"time budget of {job.budget_s:g} s" if job.budget_s else ""
    chosen, reason = prompts, ""
    if pace and (fitting := pace.fitting(prompts)) < len(prompts):
        chosen = prompts[:fitting]
        reason = f"{budget}: at the warm-up's {pace} no more requests fit"
    size = batch_size(backend, chosen)
    recorder.arrive = clock.now()
    recorder.finished = 0
    deadline = Deadline(job.budget_s)
    for begin in range(0, len(chosen), size):
        if begin and not deadline.allows_another():
            reason = f"{budget}: another batch would pass it"
            break
        backend.generate(chosen[begin : begin + size])
        channel.send(Progress(done=recorder.finished, of=len(prompts)))
    return recorder.finished, reason
