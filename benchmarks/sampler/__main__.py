"""`make perf-sampler`: what the sampler costs, what it catches, and the same for its peers.

    python -m benchmarks.sampler [--quick] [--json FILE] [--docs docs/sampler.md]
    python -m benchmarks.sampler --vllm [--model NAME] [--window S] [--rounds N] [--only TOOL...]
    python -m benchmarks.sampler --table FILE... [--docs docs/sampler.md]
    python -m benchmarks.sampler --trace FILE     a short real trace, for the tests

The first measures beside a decode-like loop on the GPU of this machine: CPU share of one core and
ticks on time, 1 GiB spikes of 5 ms caught, and the effect on the loop's speed. Without a GPU only
what needs none: the cost of waking up, and our own overhead above the driver's double
(tests/monitor/fake_nvml.c), with eight GPUs and beside busy programs too. It takes some 6 minutes;
with `--quick`, which leaves the effect out, some 2.

With `--vllm` the measured program is vLLM with a full batch, and runs are of 20 s. It takes some 12
minutes. Costs are medians of windows in turns; how the effect is measured is in sampler_effect.py.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.engines import table as engines_table
from benchmarks.sampler import table as sampler_table
from benchmarks.sampler.effect import costs, effect
from benchmarks.sampler.program import caught, decode, short_trace, vllm
from benchmarks.sampler.tools import Tool, ran_ns, tools
from monitor.compiled import load
from monitor.gpu import Gpu
from monitor.nvml import Library
from monitor.ticker import Ticker
from monitor.ticks import NS, Ticks
from orchestrator import compiler
from tests.monitor.double import GIB, Driver, Sampling, compile_driver
from traces import clock
from traces.records import Sample

COST_ROUNDS = 3
COMPARED = ["ours_1khz", "smi", "optimum"]


def floors(seconds: float, gpu: bool) -> dict[str, float]:
    """The CPU share of waking up at 1 kHz, and of asking the driver then: the floor for anyone."""
    found = {"wake-up alone": ticking([], seconds)}
    if gpu:
        library = Library()
        device = Gpu(library.devices()[0][0], library)
        found["wake-up and NVML memory"] = ticking([device], seconds)
        library.close()
    return found


def ticking(gpus: list[Gpu], seconds: float) -> float:
    """The CPU share of nothing but the ticks, here."""
    now = clock.now()
    ticker = Ticker(load(compiler.ticker()["ticker"]), gpus, Ticks(0.001, now), seconds)
    cpu = time.process_time()
    ticker.run(now + int(seconds * NS))
    return (time.process_time() - cpu) / seconds


def simulated(
    gpus: int, interval_s: float, seconds: float, everything: bool = False, busy: bool = False
) -> dict[str, Any]:
    """Our cost above the driver's double, which answers at once: our code and the kernel alone.

    `everything` reads the load at every tick too; `busy` has a program spin on every core.
    """
    with tempfile.TemporaryDirectory() as name, spinning(os.cpu_count() or 1 if busy else 0):
        folder = Path(name)
        driver = Driver(compile_driver(folder / "driver"), folder)
        driver.write(*(f"gpu GPU-{n}{'0' * 35} DOUBLE {80 * GIB} {n} 0" for n in range(gpus)))
        settings = {"interval_s": interval_s, "watching": os.getpid(), "gpus": [*range(gpus)]}
        if everything:
            settings["slow_interval_s"] = interval_s
        with Sampling(folder, driver, **settings) as sampling:
            sampling.until(lambda sampling: sampling.of(Sample))
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
        "everything": everything,
        "busy": busy,
        "cpu_share": share,
        "on_time": done["ticks"] / ticks,
        "trace_bytes_per_s": size / (ticks * interval_s),
    }


@contextlib.contextmanager
def spinning(programs: int) -> Iterator[None]:
    """Keep so many programs busy meanwhile."""
    spin = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(spin) for _ in range(programs)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def alone(quick: bool, rounds: int, window: float, limit: float) -> dict[str, Any]:
    """Measure everything that this machine can beside a decode-like loop, in so many seconds."""
    until = time.monotonic() + limit
    gpu = not Library().reason and importable("torch")
    contestants, found = opened()
    if shutil.which("cc"):
        span = 3 if quick else 4
        found["simulated"] = [
            simulated(1, 0.001, span),
            simulated(1, 0.001, span, busy=True),
            simulated(1, 0.01, span, everything=True),
            simulated(8, 0.01, span),
        ]
    found["floors_idle"] = floors(2, gpu)
    if not gpu:
        return found
    with tempfile.TemporaryDirectory() as folder:
        program = decode(Path(folder))
        try:
            found["program"] = program.about
            program.ask("run 4")
            found["floors_busy"] = floors(1.5, True)
            program.wait()
            everyone = list(contestants.values())
            found["spikes"] = [caught(tool, program) for tool in everyone]
            found["cost"] = costs(everyone, program, COST_ROUNDS, window, until)
            if not quick:
                found["effect"] = effect(compared(contestants), program, rounds, window, until)
        finally:
            program.end()
    return found


def with_vllm(
    model: str, rounds: int, window: float, limit: float, only: list[str] | None
) -> dict[str, Any]:
    """Measure what the tools cost, and cost vLLM, while it generates; in so many seconds."""
    until = time.monotonic() + limit
    contestants, found = opened()
    with tempfile.TemporaryDirectory() as folder:
        program = vllm(Path(folder), model, window)
        try:
            found["program"] = program.about
            asked = compared(contestants, only)
            found["cost"] = costs(asked, program, COST_ROUNDS, window, until)
            found["effect"] = effect(asked, program, rounds, window, until)
        finally:
            program.end()
    return found


def opened() -> tuple[dict[str, Tool], dict[str, Any]]:
    """Return the tools that can run here, and a beginning of what is found."""
    known = tools()
    missing = {tool.name: tool.missing for tool in known.values() if tool.missing}
    here = {key: tool for key, tool in known.items() if not tool.missing}
    return here, {"machine": machine(), "missing": missing}


def compared(contestants: dict[str, Tool], only: list[str] | None = None) -> list[Tool]:
    """The tools whose effect is measured."""
    return [contestants[name] for name in only or COMPARED if name in contestants]


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
    parser.add_argument("--vllm", action="store_true", help="measure beside vLLM, in long windows")
    parser.add_argument("--model", default="", help="for vLLM; by default one that suits the GPU")
    parser.add_argument(
        "--only", nargs="+", choices=COMPARED, help="beside vLLM, these tools alone"
    )
    parser.add_argument("--window", type=float, help="seconds of each run")
    parser.add_argument("--rounds", type=int, default=5, help="runs with each tool")
    parser.add_argument("--limit", type=float, help="seconds for everything")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--table", type=Path, nargs="+", help="measure nothing: show these figures")
    parser.add_argument("--trace", type=Path, help="measure nothing: record a short trace here")
    parser.add_argument("--docs", type=Path, help="put the tables into this page")
    asked = parser.parse_args()
    if asked.trace:
        short_trace(asked.trace)
        return
    if asked.table:
        figures = [json.loads(path.read_text()) for path in asked.table]
    else:
        begin = time.monotonic()
        if asked.vllm:
            window = asked.window or (4.0 if asked.quick else 20.0)
            found = with_vllm(asked.model, asked.rounds, window, asked.limit or 1200, asked.only)
        else:
            window = asked.window or (2.0 if asked.quick else 6.0)
            found = alone(asked.quick, asked.rounds, window, asked.limit or 480)
        figures = [{**found, "quick": asked.quick, "seconds": time.monotonic() - begin}]
    if asked.json:
        asked.json.write_text(json.dumps(figures[0], indent=1) + "\n")
    tables = "\n".join(sampler_table.render(found) for found in figures)
    print(tables)
    if asked.docs:
        engines_table.fill(asked.docs, tables)


if __name__ == "__main__":
    main()
