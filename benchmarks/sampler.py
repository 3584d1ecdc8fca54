"""`make perf-sampler`: what the sampler costs, what it catches, and the same for its peers.

    python -m benchmarks.sampler [--quick] [--json FILE] [--docs docs/sampler.md]
    python -m benchmarks.sampler --table FILE [--docs docs/sampler.md]

Measures on the GPU of this machine: CPU share of one core and ticks on time while a decode-like
program runs, 1 GiB spikes of 5 ms caught, and the effect on that program's speed, interleaved.
Without a GPU only what needs none: the cost of waking up, our own overhead and eight GPUs, both
above the driver's double (tests/monitor/fake_nvml.c). Bounded to 150 s, `--quick` to some 70.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import sampler_table
from benchmarks.sampler_tools import Optimum, Readings, Tool, ran_ns, tools
from monitor.nvml import Library
from monitor.sampler import prepare
from tests.monitor.double import GIB, Driver, Sampling, compile_driver

ROOT = Path(__file__).resolve().parents[1]
SPIKES, LATE_NS = 20, 60_000_000
LIMIT_S = 150.0


class Program:
    """The measured program (benchmarks/decode_loop.py)."""

    argv = (sys.executable, "-m", "benchmarks.decode_loop")

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            self.argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.about = self._answer()

    def ask(self, order: str) -> None:
        """Give an order without waiting."""
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the measured program has died")
        return json.loads(line)

    def do(self, order: str) -> Any:
        """Give an order and wait for its answer."""
        self.ask(order)
        return self._answer()

    def wait(self) -> Any:
        """Wait for the answer to an order given."""
        return self._answer()

    def end(self) -> None:
        """Let it go."""
        self._process.kill()
        self._process.wait()


def wakeups(seconds: float, work: Callable[[], Any] | None = None) -> float:
    """Return the CPU share of waking up at 1 kHz and doing `work` then: the floor for anyone."""
    begin, cpu = time.monotonic_ns(), time.process_time()
    due, end = begin, begin + int(seconds * 1e9)
    while due < end:
        due += 1_000_000
        left = due - time.monotonic_ns()
        if left > 0:
            time.sleep(left / 1e9)
        if work:
            work()
    return (time.process_time() - cpu) / seconds


def floors(seconds: float, gpu: bool) -> dict[str, float]:
    """The least that 1 kHz can cost here, in a process like the sampler's."""
    found = {"wake-up alone": wakeups(seconds)}
    if gpu:
        library = Library()
        found["wake-up and NVML memory"] = wakeups(seconds, library.devices()[0][0].memory.read)
        library.close()
    return found


def cost(tool: Tool, watched: int, seconds: float) -> dict[str, Any]:
    """Run a tool for a while; its CPU share is taken from the scheduler, between two instants."""
    tool.start(watched)
    before, begin = ran_ns(tool.session), time.monotonic_ns()
    time.sleep(seconds)
    ran, span = ran_ns(tool.session) - before, time.monotonic_ns() - begin
    said = tool.stop()
    readings: Readings | None = said["readings"]
    found: dict[str, Any] = {"tool": tool.name, "cpu_share": ran / span}
    if readings is not None:
        within = [t for t, _ in readings if begin <= t <= begin + span]
        found["readings_per_s"] = len(within) / (span / 1e9)
        found["longest_gap_ms"] = max(b - a for a, b in pairwise(within)) / 1e6
        found["cpu_us_per_reading"] = ran / 1000 / max(1, len(within))
    if account := said.get("account"):
        ticks = account["ticks"] + account["missed"]
        found["on_time"] = account["ticks"] / ticks
        found["jitter_p50_us"] = account["jitter_p50"] / 1000
        found["jitter_p99_us"] = account["jitter_p99"] / 1000
        found["trace_bytes_per_s"] = said["trace_bytes"] / (ticks / account["rate_hz"])
    return found


def caught(tool: Tool, program: Program) -> dict[str, Any]:
    """Count the spikes during which the tool read at least 90 % of their height.

    Tools that print are given 60 ms more to do so: the next spike comes after 100.
    """
    tool.start(program.pid)
    if isinstance(tool, Optimum):
        quiet = tool.maximum()
        highs = 0
        for _ in range(SPIKES):
            program.do("spikes 1")
            highs += tool.maximum() - quiet > 0.9 * GIB
        tool.stop()
        return {"tool": tool.name, "caught": highs, "of": SPIKES}
    held = program.do(f"spikes {SPIKES}")
    readings: Readings = tool.stop()["readings"]
    low = min(used for _, used in readings)
    high = [t for t, used in readings if used - low > 0.9 * GIB]
    seen = sum(any(a - 1_000_000 <= t <= b + LATE_NS for t in high) for a, b in held)
    return {"tool": tool.name, "caught": seen, "of": len(held)}


def effect(
    contestants: list[Tool], program: Program, rounds: int, window: float, until: float
) -> list[dict[str, Any]]:
    """Compare the program's speed with and without each tool, interleaved in a random order."""
    order = random.Random(1)
    ratios: dict[str, list[float]] = {tool.name: [] for tool in contestants}
    for _ in range(rounds):
        if time.monotonic() + (len(contestants) + 1) * (window + 1.5) > until:
            break
        speeds = {}
        for tool in order.sample([None, *contestants], len(contestants) + 1):
            if tool:
                tool.start(program.pid)
            done = program.do(f"run {window}")
            if tool:
                tool.stop()
            speeds[tool.name if tool else ""] = done["steps"] / done["seconds"]
        for tool in contestants:
            ratios[tool.name].append(math.log(speeds[tool.name] / speeds[""]))
    return [{"tool": name, "window_s": window, **interval(logs)} for name, logs in ratios.items()]


def interval(logs: list[float]) -> dict[str, Any]:
    """Geometric mean of paired ratios, less one, with its 95 % t interval."""
    from scipy import stats

    n = len(logs)
    if n < 2:
        return {"n": n, "change": None, "low": None, "high": None}
    mean = sum(logs) / n
    error = math.sqrt(sum((x - mean) ** 2 for x in logs) / (n - 1) / n)
    half = float(stats.t.ppf(0.975, n - 1)) * error
    low, middle, high = (math.expm1(mean + d) for d in (-half, 0, half))
    return {"n": n, "change": middle, "low": low, "high": high}


def simulated(gpus: int, interval_s: float, seconds: float) -> dict[str, Any]:
    """Our cost above the driver's double, which answers at once: Python and the kernel alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        driver = Driver(compile_driver(folder / "driver"), folder)
        driver.write(*(f"gpu GPU-{n}{'0' * 35} DOUBLE {80 * GIB} {n} 0" for n in range(gpus)))
        settings = {"interval_s": interval_s, "watching": os.getpid(), "gpus": [*range(gpus)]}
        with Sampling(folder, driver, **settings) as sampling:
            sampling.wait("ready")
            before, begin = ran_ns(sampling.process.pid), time.monotonic_ns()
            time.sleep(seconds)
            ran = ran_ns(sampling.process.pid) - before
            share = ran / (time.monotonic_ns() - begin)
            done = sampling.stop()
            size = sampling.path.stat().st_size
    ticks = done["ticks"] + done["missed"]
    return {
        "gpus": gpus,
        "interval_ms": interval_s * 1000,
        "cpu_share": share,
        "on_time": done["ticks"] / ticks,
        "trace_bytes_per_s": size / (ticks * interval_s),
    }


def measure(quick: bool) -> dict[str, Any]:
    """Measure everything that this machine can."""
    until = time.monotonic() + LIMIT_S
    gpu = not Library().reason and importable("torch")
    found: dict[str, Any] = {"machine": machine(), "quick": quick}
    contestants = {key: tool for key, tool in tools().items() if not tool.missing}
    found["missing"] = {tool.name: tool.missing for tool in tools().values() if tool.missing}
    if shutil.which("cc"):
        span = 3 if quick else 6
        found["simulated"] = [simulated(1, 0.001, span), simulated(8, 0.01, span)]
    prepare_here()
    found["floors_idle"] = floors(2, gpu)
    if gpu:
        on_gpu(found, contestants, quick, until)
    found["seconds"] = LIMIT_S - (until - time.monotonic())
    return found


def on_gpu(found: dict[str, Any], contestants: dict[str, Tool], quick: bool, until: float) -> None:
    """What needs a GPU and a program on it."""
    program = Program()
    try:
        found["program"] = program.about
        span = 3.0 if quick else 6.0
        program.ask(f"run {3 + len(contestants) * (span + 2.5)}")
        found["floors_busy"] = floors(1.5, True)
        found["cost"] = [cost(tool, program.pid, span) for tool in contestants.values()]
        program.wait()
        found["spikes"] = [caught(tool, program) for tool in contestants.values()]
        named = [contestants[k] for k in ("ours_1khz", "smi", "optimum") if k in contestants]
        window = 1.5 if quick else 5.0
        found["effect"] = effect(named, program, 5 if quick else 6, window, until)
    finally:
        program.end()


def prepare_here() -> None:
    """Make this process as punctual as the sampler's."""
    before = signal.getsignal(signal.SIGINT)
    prepare()
    signal.signal(signal.SIGINT, before)


def importable(name: str) -> bool:
    """Say whether a package is here, without importing it."""
    return importlib.util.find_spec(name) is not None


def machine() -> dict[str, Any]:
    """Say where it was measured."""
    library = Library()
    devices = [] if library.reason else library.devices()[0]
    found = {
        "gpus": [device.name for device in devices],
        "driver": library.driver,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }
    library.close()
    return found


def main() -> None:
    """Measure or read, print the table, write what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter windows")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, help="measure nothing: show these figures")
    parser.add_argument("--docs", type=Path, help="put the table into this page")
    asked = parser.parse_args()
    found = json.loads(asked.table.read_text()) if asked.table else measure(asked.quick)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    table = sampler_table.render(found)
    print(table)
    if asked.docs:
        sampler_table.fill(asked.docs, table)


if __name__ == "__main__":
    main()
