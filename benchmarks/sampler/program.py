"""The program that samplers watch, and the spikes of it that they see.

It runs in a process of its own (decode_loop.py or vllm_loop.py beside this) and obeys; here is
what is asked of it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.engines import __main__ as engines
from benchmarks.sampler.tools import Optimum, Readings, Tool
from orchestrator.log_file import tail
from tests.monitor.double import GIB, Sampling

ROOT = Path(__file__).resolve().parents[2]
SPIKES, LATE_NS = 20, 60_000_000
ENDING_S = 30.0
OPENING_S = 0.5


class Program:
    """The measured program: it obeys lines on stdin (see benchmarks/sampler/decode_loop.py)."""

    def __init__(self, name: str, argv: list[str], log: Path) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *argv], cwd=ROOT, text=True, start_new_session=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip
        self.pid = self._process.pid
        self.about = {"name": name, **self.wait()}

    def ask(self, order: str) -> None:
        """Give an order without waiting."""
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def wait(self) -> Any:
        """Wait for the answer to an order given."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("\n".join(["the measured program has died:", *tail(self._log)]))
        return json.loads(line)

    def do(self, order: str) -> Any:
        """Give an order and wait for its answer."""
        self.ask(order)
        return self.wait()

    def end(self) -> None:
        """Let it go, and everything that it started."""
        assert self._process.stdin
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def decode(folder: Path) -> Program:
    """A decode-like loop of torch operations, which also makes spikes. Needs a GPU."""
    return Program("decode-like loop", ["benchmarks.sampler.decode_loop"], folder / "decode.log")


def vllm(folder: Path, model: str, window: float) -> Program:
    """vLLM through our backend, generating for `window` seconds whenever it is told to run."""
    plan = engines.plan(folder, model=model, seconds=window)
    prepared = plan.prepare("sampled", plan.in_flight, engines.PROMPTS, 1)
    job = plan.job("vllm", prepared, "vllm", {"max_num_seqs": plan.in_flight})
    file = folder / "job.json"
    file.write_bytes(msgspec.json.encode(job))
    name = f"vLLM, {plan.model}, {plan.in_flight} requests in flight"
    argv = ["benchmarks.sampler.vllm_loop", str(file), str(window)]
    return Program(name, argv, folder / "vllm.log")


def caught(tool: Tool, program: Program) -> dict[str, Any]:
    """Count the spikes during which the tool read at least 90 % of their height.

    Tools that print are given 60 ms more to do so: the next spike comes after 100.
    """
    tool.start(program.pid)
    if isinstance(tool, Optimum):
        quiet = tool.maximum()
        highs = 0
        for _ in range(SPIKES):
            time.sleep(OPENING_S)  # its process opens NVML after it has said that it is ready
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


def short_trace(path: Path) -> None:
    """Write what the sampler sees of a program on this GPU in some 3 s, without the host's name.

    At 2 ms, so that each spike of 5 ms is in it.
    """
    with tempfile.TemporaryDirectory() as name:
        program = decode(Path(name))
        with Sampling(Path(name), interval_s=0.002) as sampling:
            sampling.wait("watching")
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
