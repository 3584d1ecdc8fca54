"""The measured processes that have both arms in one engine. Started by benchmarks.engines.

Each arm takes requests, generates them, and returns how many tokens came of it. How much work
takes the seconds asked for is found first, on arm A; that, and a whole run of each, is the warm-up.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks.engines.messages import Compared, Comparing, Measured
from benchmarks.engines.own import OWN, Arm
from traces import clock
from traces.control import Channel
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Job, Prompt, Workload
from traces.writer import Writer
from workers import vllm_engine
from workers.backend import Recorder
from workers.drive import drive

USUAL = 338  # output tokens a request, where time allows: ShareGPT's mean in the vLLM paper
FEW = 4  # output tokens of the first trial
TRIAL = 0.1  # of a run's seconds: a trial that takes so much longer than the first shows the pace
OVER = 1.03  # aim a little over the seconds asked for, so that no run is shorter


class Counting(Recorder):
    """The backends' recorder, which also counts the tokens that came."""

    tokens = 0

    def request(self, prompt: Prompt, token_ids: list[int], *rest: Any, **named: Any) -> None:
        self.tokens += len(token_ids)
        super().request(prompt, token_ids, *rest, **named)


def recording(asked: Comparing, channel: Channel) -> None:
    """A: vLLM with our scheduler's recording off; B: on."""
    job, prompts = asked.job, requests_of(asked.job)
    trace = Path(job.folder, "engine.jsonl")
    with Writer(Path(job.folder, "worker.jsonl"), "benchmark") as writer:
        recorder = Counting(writer, job.record_kv)
        worker = vllm_engine.Worker(job, recorder)
        worker.prepare()
        worker.open()

        def arm(on: bool) -> Arm:
            def generate(prompts: list[Prompt]) -> int:
                worker.llm.collective_rpc("pagedbench_record", args=(on,))
                before, size = recorder.tokens, trace.stat().st_size
                drive(worker, prompts, recorder)
                if (trace.stat().st_size > size) != on:
                    raise Problem("the switch does not reach the scheduler: is it one process?")
                return recorder.tokens - before

            return generate

        _compare(arm(False), arm(True), prompts, asked, channel, worker.facts)
        worker.close()


def driven(asked: Comparing, channel: Channel) -> None:
    """A: the engine as anyone runs it; B: our driving of it, recording."""
    job, prompts = asked.job, requests_of(asked.job)
    with Writer(Path(job.folder, "worker.jsonl"), "benchmark") as writer:
        recorder = Counting(writer, job.record_kv)
        worker = importlib.import_module(job.module).Worker(job, recorder)
        worker.prepare()
        worker.open()

        def ours(prompts: list[Prompt]) -> int:
            before = recorder.tokens
            drive(worker, prompts, recorder)
            return recorder.tokens - before

        own = OWN[job.backend](worker)
        _compare(own, ours, prompts, asked, channel, worker.facts)
        worker.close()


def requests_of(job: Job) -> list[Prompt]:
    """Return a job's requests."""
    return msgspec.json.decode(Path(job.workload).read_bytes(), type=Workload).requests


def _compare(
    a: Arm, b: Arm, prompts: list[Prompt], asked: Comparing, channel: Channel,
    facts: Callable[[], EngineFacts],
) -> None:  # fmt: skip
    """Measure both arms in turn, and say so after each run."""
    work, rounds = lasting(a, prompts, asked.seconds, asked.job)
    tokens = work[0].output_tokens
    for arm in (a, b):  # a GPU's first minute at full load can be slower than the rest
        timed(arm, work, rounds)
    for name in turns(asked.repeats):
        seconds, came = timed({"a": a, "b": b}[name], work, rounds)
        if came != len(prompts) * tokens * rounds:
            raise Problem(f"{came} tokens came where {len(prompts) * tokens * rounds} were asked")
        channel.send(Measured(name, seconds, came))
    amounts = {"requests": len(prompts), "output_tokens": tokens, "rounds": rounds}
    known = facts()
    kept = {"versions": known.versions, "settings": known.settings}
    channel.send(Compared({**amounts, **kept}))


def turns(repeats: int) -> Iterator[str]:
    """Return the order of the arms: AB BA AB ..., so that slow drift touches both alike."""
    for number in range(repeats):
        yield from "ab" if number % 2 == 0 else "ba"


def lasting(arm: Arm, prompts: list[Prompt], seconds: float, job: Job) -> tuple[list[Prompt], int]:
    """Return the requests at the length, and the rounds of them, that take at least `seconds`."""
    room = job.max_length - max(len(prompt.prompt_ids) for prompt in prompts)
    tokens, rounds = amount(arm, prompts, seconds * OVER, room)
    return sized(prompts, tokens), rounds


def amount(arm: Arm, prompts: list[Prompt], seconds: float, room: int) -> tuple[int, int]:
    """Return output tokens a request, and rounds of all requests, that take about `seconds`.

    From trials of growing length: time is a start (the prompts) and a slope (the tokens).
    """
    arm(sized(prompts, FEW))  # kernels are loaded and shapes compiled
    trials = [(FEW, timed(arm, sized(prompts, FEW), 1)[0])]
    while trials[-1][1] - trials[0][1] < seconds * TRIAL and trials[-1][0] < room:
        new = min(room, trials[-1][0] * 4)
        trials.append((new, timed(arm, sized(prompts, new), 1)[0]))
    (few, short), (more, long) = trials[-2:]
    slope = max((long - short) / (more - few), 0.05 * long / more)  # noise may turn it round
    start = max(0.0, long - more * slope)
    rounds = max(1, int(seconds / (start + USUAL * slope)))
    return max(1, min(room, round((seconds / rounds - start) / slope))), rounds


def timed(arm: Arm, prompts: list[Prompt], rounds: int) -> tuple[float, int]:
    """Return the seconds that it took, and the tokens that came."""
    begin = clock.now()
    came = sum(arm(prompts) for _ in range(rounds))
    return (clock.now() - begin) / 1e9, came


def sized(prompts: list[Prompt], tokens: int) -> list[Prompt]:
    """Return the requests, each with an output of so many tokens."""
    return [replace(prompt, output_tokens=tokens) for prompt in prompts]
