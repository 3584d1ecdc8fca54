"""`make perf-sampler`: what the sampler costs, what it catches, and the same for its peers.

    python -m benchmarks.sampler [--quick] [--json FILE] [--docs docs/sampler.md]
    python -m benchmarks.sampler --window 20 --rounds 5 --limit 560     the effect, measured long
    python -m benchmarks.sampler --table FILE [--docs docs/sampler.md]
    python -m benchmarks.sampler --trace FILE     a short real trace, for the tests

Measures on the GPU of this machine: CPU share of one core and ticks on time while a decode-like
program runs, 1 GiB spikes of 5 ms caught, and the effect on that program's speed, interleaved.
Without a GPU only what needs none: the cost of waking up, our own overhead and eight GPUs, both
above the driver's double (tests/monitor/fake_nvml.c). Bounded to 150 s; `--quick` takes some 70.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks import sampler_table
from benchmarks.sampler_program import Program, caught, effect, short_trace
from benchmarks.sampler_tools import Readings, Tool, ran_ns, tools
from monitor.nvml import Library
from monitor.sampler import prepare
from tests.monitor.double import GIB, Driver, Sampling, compile_driver


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
        found["longest_gap_ms"] = max((b - a for a, b in pairwise(within)), default=span) / 1e6
        found["cpu_us_per_reading"] = ran / 1000 / max(1, len(within))
    if account := said.get("account"):
        ticks = account["ticks"] + account["missed"]
        found["on_time"] = account["ticks"] / ticks
        found["jitter_p50_us"] = account["jitter_p50"] / 1000
        found["jitter_p99_us"] = account["jitter_p99"] / 1000
        found["trace_bytes_per_s"] = said["trace_bytes"] / (ticks / account["rate_hz"])
    return found


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


def measure(quick: bool, window: float, rounds: int, limit: float) -> dict[str, Any]:
    """Measure everything that this machine can, within so many seconds."""
    begin = time.monotonic()
    gpu = not Library().reason and importable("torch")
    found: dict[str, Any] = {"machine": machine(), "quick": quick}
    contestants = {key: tool for key, tool in tools().items() if not tool.missing}
    found["missing"] = {tool.name: tool.missing for tool in tools().values() if tool.missing}
    if shutil.which("cc"):
        span = 3 if quick else 4
        found["simulated"] = [simulated(1, 0.001, span), simulated(8, 0.01, span)]
    prepare_here()
    found["floors_idle"] = floors(2, gpu)
    if gpu:
        program = Program()
        try:
            with_program(program, found, contestants, 3.0 if quick else 5.0)
            named = [contestants[k] for k in ("ours_1khz", "smi", "optimum") if k in contestants]
            found["effect"] = effect(named, program, rounds, window, begin + limit)
        finally:
            program.end()
    found["seconds"] = time.monotonic() - begin
    return found


def with_program(
    program: Program, found: dict[str, Any], contestants: dict[str, Tool], span: float
) -> None:
    """Costs while the program runs, then the spikes that each tool sees of it."""
    found["program"] = program.about
    program.ask(f"run {3 + len(contestants) * (span + 2.5)}")
    found["floors_busy"] = floors(1.5, True)
    found["cost"] = [cost(tool, program.pid, span) for tool in contestants.values()]
    program.wait()
    found["spikes"] = [caught(tool, program) for tool in contestants.values()]


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
    parser.add_argument("--window", type=float, help="seconds of each run of the program")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--limit", type=float, default=150, help="seconds for everything")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, help="measure nothing: show these figures")
    parser.add_argument("--trace", type=Path, help="measure nothing: record a short trace here")
    parser.add_argument("--docs", type=Path, help="put the table into this page")
    asked = parser.parse_args()
    if asked.trace:
        short_trace(asked.trace)
        return
    if asked.table:
        found = json.loads(asked.table.read_text())
    else:
        window = asked.window or (1.5 if asked.quick else 3.5)
        found = measure(asked.quick, window, asked.rounds, asked.limit)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")
    table = sampler_table.render(found)
    print(table)
    if asked.docs:
        sampler_table.fill(asked.docs, table)


if __name__ == "__main__":
    main()
