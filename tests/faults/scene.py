"""Where one fault is staged: a bench, what its run is to give, and the dice."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from tests.orchestrator.bench import Bench
from tests.workers import tiny

REQUESTS = {"kind": "uniform", "requests": 4, "prompt": [8, 16], "output": [8, 16]}
LIMIT_S = 300.0
TOKENIZER: dict[str, Any] = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1, "b": 2}, "unk_token": "<unk>"},
}  # fmt: skip
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "stub": ("stub", {"step_s": 0.02}),
    "hf": ("hf-sequential", {}),
    "vllm": ("vllm", {"engine_process": True}),
}


@dataclass(slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Breach(AssertionError):  # noqa: N818  as Problem: what it is, not that it is raised
    """What must hold after a fault did not."""


class Left(Exception):  # noqa: N818  no error: this machine does not allow the fault
    """A fault that cannot be staged here, and why."""


@dataclass
class Scene:
    """One fault's folder and dice; `whole` has each engine's run that nothing happened to."""

    home: Path
    draw: Random
    whole: Callable[[str], Path]
    cgroup: str | None = None
    engine: str = ""
    struck: list[str] = field(default_factory=list)
    """What was done, for whoever reads of a breach."""

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)
        self.bench = Bench(self.home)
        self.bench.environment["OMP_NUM_THREADS"] = "1"
        self.bench.environment["VLLM_CPU_KVCACHE_SPACE"] = "1"
        self.bench.environment["VLLM_CACHE_ROOT"] = str(self.home.parent / "vllm")
        self.begun = time.monotonic()

    def elapsed(self) -> float:
        """Seconds since it began: nothing in it has taken longer."""
        return time.monotonic() - self.begun

    def note(self, what: str) -> None:
        self.struck.append(what)

    def model(self) -> Path:
        """Write the tiny model, with a tokenizer."""
        folder = tiny.write(self.home / "model")
        Path(folder, "tokenizer.json").write_bytes(msgspec.json.encode(TOKENIZER))
        return folder

    def suite(self, engine: str, *, weights: bool = False, **changes: Any) -> Path:
        """Write a suite of two cells of this engine; on random weights where none are asked for."""
        name, options = ENGINES[engine]
        model = str(self.model()) if weights else f"shape:{self._shape()}"
        table: dict[str, Any] = {
            "name": "faults", "model": model, "dtype": "float32", "device": "cpu",
            "max_length": 64, "kv_budget": "8MiB", "workload": REQUESTS, "timeout": "5m",
            "backend": [{"name": name, "label": engine, "options": options}],
        }  # fmt: skip
        return self.bench.suite(**{**table, **changes})

    def _shape(self) -> Path:
        path = self.home / "shape.json"
        path.write_bytes(msgspec.json.encode(tiny.CONFIG))
        return path

    def start(self, suite: Path, **settings: Any) -> Any:
        return self.bench.start("--quiet", "--suite", suite, "--out", self.bench.out, **settings)

    def finish(self, process: Any) -> Done:
        """Wait for the end; a run that hangs is a breach."""
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Breach("the run does not end") from None
        return Done(process.returncode, out, err)

    def run(self, *arguments: object, verb: str = "run") -> Done:
        return self.finish(self.bench.start(*arguments, verb=verb))

    def resume(self) -> Done:
        return self.run("--quiet", "--resume", self.bench.out)

    def copy(self, engine: str) -> Path:
        """Take a copy of a run that nothing happened to; return where it is."""
        shutil.copytree(self.whole(engine), self.bench.out)
        return self.bench.out

    def child(self, process: Any, name: str) -> int | None:
        """Wait for the child of this name; None when the run has ended before one came."""
        while process.poll() is None:
            if found := self.bench.marked(name):
                return found[0]
            time.sleep(0.02)
        return None
