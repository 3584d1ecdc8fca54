"""The engine benchmark's processes: started and ended as a run's cells are, heard the same way."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from benchmarks.engines.messages import Compared, Comparing, Measured
from benchmarks.engines.table import Run
from orchestrator import environment, models
from orchestrator.supervise import Child
from traces.errors import Problem
from traces.job import Job
from traces.messages import Failed, Message
from traces.preparing import Preparation
from traces.preparing import Prepared as Made
from traces.workload import AnySpec

LATE_S = 1800.0
POLL_S = 0.5

Answer = TypeVar("Answer", bound=Message)


class Prepared(Struct, frozen=True):
    """A model's folder and the file of requests, as prepare left them."""

    folder: str
    random_weights: bool
    max_length: int
    workload: str


def prepare(model: str, name: str, spec: AnySpec, max_length: int, folder: Path) -> Prepared:
    """Make a model and token ids ready, as a run does."""
    out = str(folder / f"{name}.workload.json")
    asked = Preparation(
        source=models.resolve(model), cache=str(models.cache()), name=name, spec=spec, seed=0,
        max_length=max_length, out=out,
    )  # fmt: skip
    done = converse("workers.prepare:main", asked, folder / f"{name}.prepare.log", Made)
    return Prepared(done.folder, done.random_weights, done.max_length, out)


def ask(target: str, job: Job, seconds: float, repeats: int) -> dict[str, Any]:
    """Have a process compare two arms; return its runs, and what else it found."""
    runs: list[Run] = []

    def heard(message: Message, child: Child) -> None:
        if isinstance(message, Measured):
            runs.append(show(Run(message.arm, message.seconds, message.tokens)))

    asked = Comparing(job, seconds, repeats)
    done = converse(target, asked, Path(job.folder, "log.txt"), Compared, heard)
    return {"runs": runs, "facts": done.facts}


def show(run: Run) -> Run:
    """Tell who waits how it goes."""
    print(f"  {run.arm}: {run.rate:,.1f} tok/s in {run.seconds:.1f} s", file=sys.stderr, flush=True)
    return run


def converse(
    target: str, config: Struct, log: Path, kind: type[Answer],
    heard: Callable[[Message, Child], None] = lambda message, child: None,
) -> Answer:  # fmt: skip
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
            elif isinstance(message, kind):
                ended = child.stop
                return message
            elif isinstance(message, Failed):
                raise Problem(f"{target}: {message.error}: {message.message}")
            else:
                heard(message, child)
        raise Problem(f"{target}: {child.exit}; its log ends:\n" + "\n".join(child.tail()))
    finally:
        ended()
