"""The samplers that are set side by side: ours, and what people use instead.

Each runs in a session of its own, so that what it costs is what its session's threads ran, read
from the kernel's scheduler (nanoseconds, whoever the tool is). `readings` are (monotonic ns,
bytes used), or None for a tool that keeps only a maximum.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from monitor.nvml import Library
from monitor.ticks import SLOW_READINGS
from tests.monitor.double import Sampling
from traces.records import Gap, Sample

Readings = list[tuple[int, int]]
MIB = 1 << 20


def ran_ns(session: int) -> int:
    """Return the CPU time of a session's processes so far."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == session:
                tasks = stat.parent.glob("task/*/schedstat")
                total += sum(int(task.read_text().split()[0]) for task in tasks)
        except (OSError, ValueError, IndexError):
            continue
    return total


class Tool:
    """A sampler to compare. `missing` says why it cannot run here."""

    name = ""
    missing = ""
    session = 0

    def start(self, watched: int) -> None:
        """Start it and wait until it samples."""

    def stop(self) -> dict[str, Any]:
        """Stop it: {"readings": ..., and whatever it says about itself}, as "count" of readings."""
        return {"readings": None}


class Ours(Tool):
    """This project's sampler."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self._settings = settings

    def start(self, watched: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._sampling = Sampling(folder, watching=watched, **self._settings)
        self._sampling.until(lambda sampling: sampling.of(Sample), 30)
        self.session = self._sampling.process.pid

    def stop(self) -> dict[str, Any]:
        done = self._sampling.stop()
        samples = self._sampling.of(Sample)
        slow = [gap.missed for gap in self._sampling.of(Gap) if gap.cause == SLOW_READINGS]
        size = self._sampling.path.stat().st_size
        self._folder.cleanup()
        return {
            "readings": [(s.t, s.used) for s in samples if s.used is not None],
            "account": done,
            "missed_in_driver": sum(slow),
            "trace_bytes": size,
        }


class Lines(Tool):
    """A tool that prints a line a reading, the used MiB (or bytes) in its last column."""

    argv: tuple[str, ...] = ()
    unit = 1

    def start(self, watched: int) -> None:
        self._process = subprocess.Popen(
            self.argv, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.session = self._process.pid
        self._readings: Readings = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + 15
        while len(self._readings) < 3 and time.monotonic() < end:
            time.sleep(0.05)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                used = int(line.rsplit(",", 1)[-1])
                self._readings.append((time.monotonic_ns(), used * self.unit))

    def stop(self) -> dict[str, Any]:
        os.killpg(self.session, signal.SIGTERM)
        self._process.wait()
        self._reader.join(2)
        return {"readings": self._readings}


class Smi(Lines):
    """nvidia-smi in its fastest loop that is of use."""

    name = "nvidia-smi --loop-ms=10"
    argv = ("nvidia-smi", "-i", "0", "--query-gpu=timestamp,memory.used",
            "--format=csv,noheader,nounits", "--loop-ms=10")  # fmt: skip
    unit = MIB

    def __init__(self) -> None:
        self.missing = "" if shutil.which("nvidia-smi") else "not on this machine"


PLAIN = """
import time, pynvml
pynvml.nvmlInit()
gpu = pynvml.nvmlDeviceGetHandleByIndex(0)
while True:
    used = pynvml.nvmlDeviceGetMemoryInfo(gpu, version=pynvml.nvmlMemory_v2).used
    print(time.monotonic_ns(), used, sep=",", flush=True)
    time.sleep(0.001)
"""


class Plain(Lines):
    """What one writes by hand with nvidia-ml-py."""

    name = "plain loop, sleep(0.001)"
    argv = (sys.executable, "-c", PLAIN)

    def __init__(self) -> None:
        self.missing = "" if not Library().reason else "no driver here"


OPTIMUM = """
import importlib.util, multiprocessing, os, sys
for name in ("optimum_benchmark", "optimum_benchmark.trackers"):
    # Found but not run: they import every engine there is, and the tracker needs none.
    sys.modules[name] = importlib.util.module_from_spec(importlib.util.find_spec(name))
from optimum_benchmark.trackers import memory
count = multiprocessing.Value("q", 0, lock=False)
read = memory.pynvml.nvmlDeviceGetMemoryInfo
def counted(*args, **named):
    count.value += 1
    return read(*args, **named)
memory.pynvml.nvmlDeviceGetMemoryInfo = counted
tracker = memory.MemoryTracker(device="cuda", backend="none", device_ids="0")
tracker.monitored_pid = int(sys.argv[1])
going = True
while going:
    count.value = 0
    with tracker.track():
        print("begin", flush=True)
        going = bool(sys.stdin.readline())
    print(int(tracker.get_max_memory().max_global_vram * 1e6), count.value, flush=True)
"""


class Optimum(Tool):
    """optimum-benchmark's memory tracker: a maximum per tracked stretch, nothing in between."""

    name = "optimum-benchmark MemoryTracker"

    def __init__(self) -> None:
        if importlib.util.find_spec("optimum_benchmark") is None:
            self.missing = "not installed here"

    def start(self, watched: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", OPTIMUM, str(watched)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.session = self._process.pid
        self._line()

    def maximum(self) -> int:
        """End the stretch and return its maximum; another begins."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        most = int(self._line().split()[0])
        self._line()
        return most

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} has died")
        return line

    def stop(self) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.close()
        count = int(self._line().split()[1])
        self._process.wait()
        return {"readings": None, "count": count}


def tools() -> dict[str, Tool]:
    """Return the contestants by their short names."""
    everything = {"slow_interval_s": 0.01, "procs_interval_s": 1.0}
    others = ("slow_interval_s", "procs_interval_s", "host_interval_s", "pss_interval_s")
    alone = dict.fromkeys(others, 3600.0)
    return {
        "ours_memory": Ours("pagedbench, 1 kHz memory alone", interval_s=0.001, **alone),
        "ours_1khz": Ours("pagedbench, 1 kHz memory", interval_s=0.001),
        "ours_100hz": Ours("pagedbench, 100 Hz everything", interval_s=0.01, **everything),
        "smi": Smi(),
        "plain": Plain(),
        "optimum": Optimum(),
    }
