"""The engine benchmark's processes: started and ended as a run's cells are, heard the same way."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks.engines.table import Run
from orchestrator import environment, models
from orchestrator.supervise import Child
from traces.errors import Problem
from traces.job import Job
from traces.workload import Spec

LATE_S = 1800.0
POLL_S = 0.5

Message = dict[str, Any]


class Prepared(Struct, frozen=True):
    """A model's folder and the file of requests, as prepare left them."""

    folder: str
    random_weights: bool
    max_length: int
    workload: str


def prepare(model: str, name: str, spec: Spec, max_length: int, folder: Path) -> Prepared:
    """Make a model and token ids ready, as a run does."""
    source = models.resolve(model)
    out = str(folder / f"{name}.workload.json")
    config = {
        "source": source.kind, "name": source.name, "path": source.path,
        "cache": str(models.cache()), "spec": msgspec.to_builtins(spec), "workload": name,
        "seed": 0, "max_length": max_length, "out": out,
    }  # fmt: skip
    done = converse("workers.prepare:main", config, folder / f"{name}.prepare.log")
    return Prepared(done["folder"], done["random_weights"], done["max_length"], out)


def ask(target: str, job: Job, seconds: float, repeats: int) -> dict[str, Any]:
    """Have a process compare two arms; return its runs, and what else it found."""
    runs: list[Run] = []

    def heard(message: Message, child: Child) -> None:
        if message["kind"] == "measured":
            runs.append(show(Run(message["arm"], message["seconds"], message["tokens"])))

    config = {"job": msgspec.to_builtins(job), "seconds": seconds, "repeats": repeats}
    done = converse(target, config, Path(job.folder, "log.txt"), heard)
    return {"runs": runs, "facts": done["facts"]}


def show(run: Run) -> Run:
    """Tell who waits how it goes."""
    print(f"  {run.arm}: {run.rate:,.1f} tok/s in {run.seconds:.1f} s", file=sys.stderr, flush=True)
    return run


def converse(
    target: str, config: Message, log: Path,
    heard: Callable[[Message, Child], None] = lambda message, child: None,
) -> Message:  # fmt: skip
    """Start a process, pass on what it says, and return its last word when it is done.

    Raises Problem with the end of its log when it fails, dies, or is late.
    """
    child = Child(log.parent.name, target, config, log, environment.for_worker())
    ended = child.kill
    try:
        end = time.monotonic() + LATE_S
        while time.monotonic() < end:
            message = child.message(POLL_S)
            if message is None:
                if not child.alive:
                    break
            elif message["kind"] == "done":
                ended = child.stop
                return message
            elif message["kind"] == "failed":
                raise Problem(f"{target}: {message['error']}: {message['message']}")
            else:
                heard(message, child)
        raise Problem(f"{target}: {child.exit}; its log ends:\n" + "\n".join(child.tail()))
    finally:
        ended()
