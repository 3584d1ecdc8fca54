"""Faults over real short runs, in a random order from a seed: `make faults`.

Each fault has a folder and dice of its own, so that `--number N` with the same seed and count
stages the same again. Prints what was staged and what held by kind; exits with 1 when anything did
not hold, and then keeps that fault's folder. Processes are signalled while real engines run on
tiny random models; the stand-in engine of tests/orchestrator is used where nothing but processes
and files is the subject. Not promised: that the signal meets the same line of code again.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from random import Random
from typing import NamedTuple

import click

from tests.faults import bytes as changed
from tests.faults import kills, surroundings
from tests.faults.scene import ENGINES, Left, Scene

Signalled = Callable[[Scene, signal.Signals], None]


def sends(number: signal.Signals, fault: Signalled) -> Callable[[Scene], None]:
    """Return the fault with this signal."""
    return lambda scene: fault(scene, number)


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
PROCESSES: dict[str, tuple[Signalled, int]] = {
    "orchestrator": (kills.orchestrator, 8),
    "worker": (kills.worker, 7),
    "engine": (kills.engine_process, 1),
    "sampler": (kills.sampler, 7),
    "prepare": (kills.prepare, 6),
    "parity": (kills.parity, 3),
}
KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    **{
        f"{number.name} {name}": (sends(number, function), share)
        for name, (function, share) in PROCESSES.items()
        for number in SIGNALS
    },
    "full disk": (surroundings.full_disk, 14),
    "read-only folder": (surroundings.read_only, 12),
    "clock step": (surroundings.clock_step, 12),
    "GPU lost": (surroundings.gpu_lost, 12),
    "out of memory": (surroundings.out_of_memory, 4),
    "torn trace": (changed.torn_trace, 16),
    "flipped trace": (changed.flipped_trace, 18),
    "broken model": (changed.broken_model, 20),
}
"""Each kind of fault, and how many of all are of it."""
COUNT = sum(share for _, share in KINDS.values())


class Outcome(NamedTuple):
    """How one fault ended: held, breach, or left out; and in how many seconds."""

    number: int
    kind: str
    how: str
    said: str
    seconds: float


def plan(seed: int, count: int, only: tuple[str, ...]) -> list[str]:
    """Return which kinds are staged, in their order: each by its share, and then shuffled."""
    shares = {kind: share for kind, (_, share) in KINDS.items() if not only or kind in only}
    whole = sum(shares.values())
    drawn = Random(f"{seed}")
    kinds = [kind for kind, share in shares.items() for _ in range(count * share // whole)]
    kinds += drawn.choices([*shares], [*shares.values()], k=count - len(kinds))
    drawn.shuffle(kinds)
    return kinds


def stage(
    number: int, kind: str, seed: int, place: Path, whole: "Whole", cgroup: str | None
) -> Outcome:
    """Stage one fault, and say how it ended."""
    begun = time.monotonic()
    scene = Scene(place / f"{number}", Random(f"{seed}-{number}"), whole, cgroup)
    how, said = "held", ""
    try:
        KINDS[kind][0](scene)
    except Left as left:
        how, said = "left out", str(left)
    except Exception as error:
        how, said = "breach", f"{type(error).__name__}: {error} [{'; '.join(scene.struck)}]"
        for pid in scene.bench.remains():
            os.kill(pid, signal.SIGKILL)
    if how != "breach":
        shutil.rmtree(scene.home, ignore_errors=True)
    return Outcome(number, kind, how, said, time.monotonic() - begun)


class Whole:
    """Runs that nothing happens to, each made when it is first asked for: what others must give."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._making = {engine: threading.Lock() for engine in ENGINES}

    def __call__(self, engine: str) -> Path:
        """Return the folder of this engine's."""
        out = self._place / "whole" / engine
        with self._making[engine]:
            if not out.exists():
                scene = Scene(self._place / f"make-{engine}", Random(0), self)
                scene.bench.out = out
                done = scene.finish(scene.start(scene.suite(engine)))
                if done.code:
                    raise click.ClickException(f"{engine} does not run: {done.err}")
        return out


def table(outcomes: list[Outcome]) -> str:
    """What was staged by kind, what of it held, and how long one took."""
    rows = [f"{'kind':24}{'n':>5}{'held':>6}{'s each':>8}"]
    for kind in KINDS:
        of = [outcome for outcome in outcomes if outcome.kind == kind]
        tried = [outcome for outcome in of if outcome.how != "left out"]
        held = sum(outcome.how == "held" for outcome in tried)
        if tried:
            mean = sum(outcome.seconds for outcome in tried) / len(tried)
            rows.append(f"{kind:24}{len(tried):5}{held:6}{mean:8.1f}")
        elif of:
            rows.append(f"{kind:24}{0:5}{0:6}  left out: {of[0].said}")
    counts = Counter(outcome.how for outcome in outcomes)
    rows.append(f"{'all':24}{counts['held'] + counts['breach']:5}{counts['held']:6}")
    return "\n".join(rows)


@click.command()
@click.option("--seed", default=0, show_default=True)
@click.option("--count", default=COUNT, show_default=True, help="How many faults.")
@click.option("--only", multiple=True, type=click.Choice([*KINDS]), metavar="KIND")
@click.option("--number", type=int, help="This one of them only.")
@click.option(
    "--jobs",
    default=2 * (os.cpu_count() or 1),
    show_default=True,
    help="So many at once: they mostly wait.",
)
@click.option("--cgroup", help="A memory cgroup of yours, in which groups can be made.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where; by default a new one.")
def main(
    seed: int, count: int, only: tuple[str, ...], number: int | None, jobs: int,
    cgroup: str | None, folder: Path | None,
) -> None:  # fmt: skip
    """Stage faults and check what must hold after each."""
    place = folder or Path(tempfile.mkdtemp(prefix="faults-"))
    begun = time.monotonic()
    chosen = [*enumerate(plan(seed, count, only))]
    if number is not None:
        chosen = [chosen[number]]
    with ThreadPoolExecutor(jobs) as pool:
        whole = Whole(place)
        waiting = [pool.submit(stage, n, kind, seed, place, whole, cgroup) for n, kind in chosen]
        outcomes = []
        for done in as_completed(waiting):
            outcomes.append(done.result())
            n, kind, how, said, seconds = outcomes[-1]
            print(f"{len(outcomes):4} #{n} {kind}: {how} ({seconds:.1f} s) {said}", flush=True)
    print(f"\nseed {seed}, {time.monotonic() - begun:.0f} s, {jobs} at once\n\n{table(outcomes)}")
    bad = [outcome for outcome in outcomes if outcome.how == "breach"]
    for outcome in bad:
        print(f"breach: --seed {seed} --count {count} --number {outcome.number}: {outcome.said}")
    if not bad and folder is None:
        shutil.rmtree(place, ignore_errors=True)
    elif bad:
        print(f"the folders of what did not hold are in {place}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
