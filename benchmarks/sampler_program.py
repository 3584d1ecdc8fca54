"""The program that samplers watch, and what it tells of them: spikes seen, speed kept.

It runs in a process of its own (benchmarks/decode_loop.py) and obeys; here is what is asked of it.
"""

import json
import math
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sampler_tools import Optimum, Readings, Tool
from tests.monitor.double import GIB, Sampling

ROOT = Path(__file__).resolve().parents[1]
SPIKES, LATE_NS = 20, 60_000_000


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
    low = min((used for _, used in readings), default=0)
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


def short_trace(path: Path) -> None:
    """Write what the sampler sees of a program on this GPU in some 3 s, without the host's name.

    At 2 ms, so that each spike of 5 ms is in it.
    """
    program = Program()
    with tempfile.TemporaryDirectory() as name, Sampling(Path(name), interval_s=0.002) as sampling:
        sampling.wait("ready")
        time.sleep(0.2)
        for order in ("run 1", "spikes 5"):
            sampling.mark("run", "begin", program.pid)
            program.do(order)
            sampling.mark("run", "end", program.pid)
        program.end()
        time.sleep(0.5)
        sampling.stop()
        lines = sampling.path.read_bytes().split(b"\n", 1)
    header = json.loads(lines[0]) | {"host": "recorded"}
    path.write_bytes(json.dumps(header, separators=(",", ":")).encode() + b"\n" + lines[1])
