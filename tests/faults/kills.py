"""A signal for each kind of process, at a moment that the dice choose."""

import os
import signal
import time
from contextlib import suppress
from typing import Any

from tests.faults.checks import ended, expect, quiet, readable, resumes, true_numbers
from tests.faults.scene import Scene

KILL, TERM, STOP, CONT = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGCONT
PAUSE_S = 2.0
SHORT = {"stub": 0.7, "hf": 6.0, "vllm": 12.0}  # seconds that a worker of each lives, about
STARTS = {"prepare": 0.3, "sampler": 2.0, "parity": 5.0}
LATE = {"stub": "8s", "hf": "45s", "vllm": "150s"}  # more than each takes on a busy machine


def worker(scene: Scene, number: signal.Signals) -> None:
    """A worker that dies is a row and exit 4; one that hangs is one of 124. Resuming makes it."""
    engine = scene.draw.choice(["hf", "hf", "stub"])
    _cell(scene, engine, number, engine)


def engine_process(scene: Scene, number: signal.Signals) -> None:
    """The same for the process that vLLM's worker starts for its engine."""
    _cell(scene, "vllm", number, "engine")


def _cell(scene: Scene, engine: str, number: signal.Signals, who: str) -> None:
    hangs = number == STOP or who == "engine"  # vLLM may wait for an engine that has gone
    late = LATE[engine] if hangs else "5m"
    process = scene.start(scene.suite(engine, timeout=late))
    pid = scene.child(process, f"{engine}.r0")
    if who == "engine":
        pid = _second(scene, process, f"{engine}.r0")
    _strike(scene, pid, number, scene.draw.uniform(0, SHORT[engine]))
    done = scene.finish(process)
    ended(scene, done, *((0, 4, 124) if hangs else (0, 4)))
    readable(scene, torn=True)
    true_numbers(scene, engine, scene.elapsed())
    resumes(scene, engine)


def _second(scene: Scene, process: Any, name: str) -> int | None:
    """Wait for a process that this child started and that runs code of its own."""
    while process.poll() is None:
        for pid in scene.bench.marked(name)[1:]:
            with suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as stream:  # noqa: PTH123
                if b"EngineCore" in stream.read():
                    return pid
        time.sleep(0.05)
    return None


def orchestrator(scene: Scene, number: signal.Signals) -> None:
    """Killed, it takes everything with it; asked to end, it is 130; paused, nothing is lost."""
    engine = scene.draw.choice(["hf", "stub", "stub"])
    process = scene.start(scene.suite(engine))
    _strike(scene, process.pid, number, scene.draw.uniform(0, 1.5 + SHORT[engine]))
    if number == STOP:
        time.sleep(scene.draw.uniform(0.1, PAUSE_S))
        process.send_signal(CONT)
    done = scene.finish(process)
    if number == KILL:
        expect(done.code in (0, -KILL), f"exit code {done.code}: {done.err}")
        quiet(scene)
    else:  # before Python listens, SIGTERM is the system's
        ended(scene, done, *((0,) if number == STOP else (0, 130, -TERM)))
        expect(done.code != -TERM or not (scene.bench.out / "cells").exists(), "ended by SIGTERM")
    _goes_on(scene, engine, torn=number == KILL)


def _goes_on(scene: Scene, engine: str, torn: bool) -> None:
    """What was not begun can be begun; what was begun goes on."""
    out = scene.bench.out
    if not out.exists():
        return ended(scene, scene.finish(scene.start(scene.suite(engine))), 0)
    readable(scene, torn=torn)
    true_numbers(scene, engine, scene.elapsed())
    if (out / "suite.json").exists():
        resumes(scene, engine)
    else:
        ended(scene, scene.resume(), 2)
    return None


def sampler(scene: Scene, number: signal.Signals) -> None:
    """Without its sampler a cell is not well (4); before the first cell there is no run (2)."""
    engine = scene.draw.choice(["hf", "stub", "stub"])
    process = scene.start(scene.suite(engine))
    pid = scene.child(process, "sampler")
    _strike(scene, pid, number, scene.draw.uniform(0, SHORT[engine]))
    pause = scene.draw.choice([True, False])
    if number == STOP and pause and pid is not None:
        time.sleep(scene.draw.uniform(0.1, PAUSE_S))
        with suppress(ProcessLookupError):
            os.kill(pid, CONT)
    done = scene.finish(process)
    ended(scene, done, *((0, 2, 4)))
    readable(scene, torn=True)
    true_numbers(scene, engine, scene.elapsed())
    _goes_on(scene, engine, torn=True)


def prepare(scene: Scene, number: signal.Signals) -> None:
    """It prepares, or there is no run: 2. One that hangs can be interrupted."""
    process = scene.start(scene.suite("stub", weights=scene.draw.choice([True, False])))
    pid = scene.child(process, "prepare")
    _strike(scene, pid, number, scene.draw.uniform(0, STARTS["prepare"]))
    _helper_ended(scene, process, number, (0, 2), "stub")


def parity(scene: Scene, number: signal.Signals) -> None:
    """Without its verdict the numbers stand and say so; going on, it is judged."""
    process = scene.start(scene.suite("hf", weights=True))
    pid = scene.child(process, "parity")
    _strike(scene, pid, number, scene.draw.uniform(0, STARTS["parity"]))
    _helper_ended(scene, process, number, (0,), "hf")


def _helper_ended(
    scene: Scene, process: Any, number: signal.Signals, codes: tuple[int, ...], engine: str
) -> None:
    if number == STOP:
        time.sleep(0.3)
        if process.poll() is None:
            process.send_signal(TERM)
        codes = (*codes, 130)
    done = scene.finish(process)
    ended(scene, done, *codes)
    _goes_on(scene, engine, torn=True)


def _strike(scene: Scene, pid: int | None, number: signal.Signals, after: float) -> None:
    """Send a signal after so many seconds; a process that has ended by then gets none."""
    time.sleep(after)
    scene.note(f"{number.name} to {pid} after {after:.2f} s")
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
