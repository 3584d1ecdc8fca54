"""The world of a sampler under test: a scripted driver, and the sampler process itself.

`compile_driver` builds fake_nvml.c as libnvidia-ml.so.1; `Driver` writes its script; `Sampling`
starts the sampler as the orchestrator does, through traces.control.enter over a pipe, with the
double first in LD_LIBRARY_PATH, so that the real nvidia-ml-py loads it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Self

import msgspec

from orchestrator import compiler
from traces.messages import Edge, Message, Stop
from traces.reader import read
from traces.records import AnyRecord, Record
from traces.sampling import Look, Mark

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("fake_nvml.c")
A, B = "GPU-aaaaaaaa-1111-2222-3333-444444444444", "GPU-abbbbbbb-1111-2222-3333-444444444444"
MIG = "MIG-cccccccc-1111-2222-3333-444444444444"
GIB = 1 << 30

CHILD = """
import msgspec, sys
from multiprocessing.connection import Connection
from traces.control import enter
from traces.sampling import Settings
fd, config, log = int(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Settings), sys.argv[3]
enter("monitor.sampler:main", config, Connection(fd), log)
"""


def compile_driver(folder: Path, *flags: str) -> Path:
    """Build the double into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    options = ["-O2", "-Wall", "-shared", "-fPIC", *flags]
    subprocess.run(["cc", *options, "-o", str(library), str(SOURCE)], check=True)
    return folder


class Driver:
    """A double's folder, its script, and how often each of its functions was called."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.script = folder / "driver.txt"
        self.counts_file = folder / "counts.txt"
        self.environment = {
            "LD_LIBRARY_PATH": ":".join(filter(None, [str(library), os.getenv("LD_LIBRARY_PATH")])),
            "NVIDIA_DOUBLE_SCRIPT": str(self.script),
            "NVIDIA_DOUBLE_COUNTS": str(self.counts_file),
        }
        self.write(f"gpu {A} H100 {80 * GIB} {GIB} {GIB // 2}")

    def write(self, *statements: str) -> None:
        """Replace the script, at once for a running double."""
        draft = self.script.with_suffix(".new")
        draft.write_text("\n".join(statements) + "\n")
        draft.rename(self.script)

    def calls(self, function: str) -> int:
        """Return how often the ended process called this function."""
        rows = (line.split() for line in self.counts_file.read_text().splitlines())
        return {name: int(n) for name, n in rows}.get(function, 0)


class Sampling:
    """A sampler process: send it orders, wait for its messages, read its trace."""

    def __init__(self, folder: Path, driver: Driver | None = None, **config: Any) -> None:
        self.path = folder / "samples.jsonl"
        self.log = folder / "sampler.log"
        self.ours, theirs = Pipe()
        environment = {**os.environ, **(driver.environment if driver else {})}
        fields = json.dumps({"path": str(self.path), **compiler.ticker(), **config})
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(theirs.fileno()), fields, str(self.log)],
            cwd=ROOT,
            env=environment,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.ours.close()

    def wait(self, kind: str, patience: float = 10.0) -> dict[str, Any]:
        """Return the next message of this kind; fails when it does not come."""
        end = time.monotonic() + patience
        while self.ours.poll(max(0.0, end - time.monotonic())):
            message: dict[str, Any] = msgspec.to_builtins(self.ours.recv())
            if message["kind"] == kind:
                return message
            assert message["kind"] != "failed", str(message)
        raise AssertionError(f"no {kind}; log: {self.log.read_text()}")

    def order(self, order: Message) -> None:
        """Send an order."""
        self.ours.send(order)

    def mark(self, phase: str, edge: Edge, watching: int | None) -> None:
        """Tell it of a phase's edge and wait until it has read what it reads there."""
        self.order(Mark(cell="c", phase=phase, edge=edge, watching=watching, reply=True))
        self.wait("marked")

    def state(self) -> list[dict[str, Any]]:
        """Ask what is on the devices."""
        self.order(Look())
        devices: list[dict[str, Any]] = self.wait("state")["devices"]
        return devices

    def stop(self) -> dict[str, Any]:
        """Stop it in order and return its account."""
        self.order(Stop())
        done: dict[str, Any] = self.wait("sampled")["account"]
        assert self.process.wait(10) == 0, self.log.read_text()
        return done

    def records(self) -> list[AnyRecord]:
        """Return what it has written so far."""
        return list(read(self.path))

    def of(self, kind: type[Record]) -> list[Any]:
        """Return what it has written so far of one kind."""
        return [record for record in self.records() if isinstance(record, kind)]

    def until(self, enough: Callable[[Self], Any], patience: float = 10.0) -> None:
        """Wait until `enough(self)` holds of the trace on disk."""
        end = time.monotonic() + patience
        while not (self.path.exists() and self.path.stat().st_size and enough(self)):
            assert time.monotonic() < end, f"trace: {self.path.read_text()[-2000:]}"
            time.sleep(0.02)
