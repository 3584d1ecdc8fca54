"""Runs of `python -m orchestrator run` with the stub backend, each in a folder of its own.

The stub comes as a user's would: an installed package on the path, with an entry point. Only the
engine is a stand-in; processes, pipes, traces and results are the real ones.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from traces.control import MARK
from traces.reader import read
from traces.records import AnyRecord

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = Path(__file__).parent / "plugin"
SHAPE = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
    "max_position_embeddings": 512,
}  # fmt: skip
MAIN = ("-m", "orchestrator")
PATIENCE_S = 30.0
A_FIRST = 1  # the seed that leaves two or three cells in the order given


class Bench:
    """A folder with a suite, an environment for the command, and what is left of its processes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.out = home / "run"
        self.hold = home / "hold"
        (home / "config.json").write_text(json.dumps(SHAPE))
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGIN)]), "COLUMNS": "200",
            "CUDA_VISIBLE_DEVICES": "", "PAGEDBENCH_LOCKS": str(home),
        }  # fmt: skip

    def suite(self, *backends: dict[str, Any], **changes: Any) -> Path:
        """Write a suite of stubs; each is a label with its options."""
        table = {
            "name": "stubs", "model": f"shape:{self.home / 'config.json'}",
            "workload": {"kind": "uniform", "requests": 2, "prompt": [4, 8], "output": [4, 6]},
            "backend": [
                {"name": "stub", "label": options.pop("label", f"stub{number}"), "options": options}
                for number, options in enumerate(map(dict, backends or ({},)))
            ],
        }  # fmt: skip
        path = self.home / "suite.toml"
        path.write_text(toml({**table, **changes}))
        return path

    def holding(self, **options: Any) -> dict[str, Any]:
        """Options of a stub that stands still in mid-run until `release`."""
        self.hold.touch()
        return {"hold": str(self.hold), **options}

    def release(self) -> None:
        self.hold.unlink()

    def start(
        self, *arguments: object, verb: str = "run", python: tuple[str, ...] = MAIN, **settings: Any
    ) -> "subprocess.Popen[str]":
        """Start `pagedbench run ARGUMENTS`, or another verb; `python` may patch something first."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, *python, verb, *map(str, arguments)],
            cwd=self.home, env=self.environment, text=True, **{**pipes, **settings},
        )  # fmt: skip

    def run(self, *arguments: object, **settings: Any) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        return finish(self.start(*arguments, **settings))

    def resume(self) -> "subprocess.CompletedProcess[str]":
        return self.run("--quiet", "--resume", self.out)

    def cells(self) -> dict[str, dict[str, Any]]:
        """What result.json says of each cell, by its name."""
        return {f"{c['label']}.r{c['repeat']}": c for c in self.result()["cells"]}

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "result.json").read_bytes())
        return found

    def about(self, cell: str) -> dict[str, Any]:
        """What cell.json says."""
        path = self.out / "cells" / cell / "cell.json"
        found: dict[str, Any] = json.loads(path.read_bytes())
        return found

    def trace(self, cell: str) -> list[AnyRecord]:
        """The worker's records."""
        return list(read(self.out / "cells" / cell / "worker.jsonl"))

    def in_mid_run(self, cell: str) -> int:
        """Wait until a cell's worker stands still in its run phase; return its pid."""
        path = self.out / "cells" / cell / "worker.jsonl"
        wait_for(lambda: path.is_file() and path.read_bytes().count(b'"k":"kv"') > 60, path)
        return int(json.loads(path.read_bytes().split(b"\n")[0])["pid"])

    def sampler_pid(self) -> int:
        return int(json.loads((self.out / "samples.jsonl").read_bytes().split(b"\n")[0])["pid"])

    def remains(self) -> dict[int, str]:
        """What still runs of all that was started here: our cache folder is in its environment.

        Or it runs in our folder, for an engine that sets its title writes over its environment.
        That is independent of the marks and sessions by which pagedbench itself looks.
        """
        return dict(_of(self.home))

    def marked(self, name: str) -> list[int]:
        """What runs of the child of this name: the child itself first, then what it started."""
        remains = self.remains()
        heads = [p for p in remains if _session(p) == p and _variable(p, MARK).endswith(f"-{name}")]
        return heads + [p for p in remains if p not in heads and _session(p) in heads]

    def gone(self) -> bool:
        """Whether all of it ends in a while."""
        return wait_for(lambda: not self.remains(), "the end of every process", self.remains)


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """Wait for the end. A run that hangs is killed and fails the test."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"the run does not end; it said: {err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(
    true: Callable[[], bool], what: object, state: Callable[[], object] = lambda: ""
) -> bool:
    """Wait until it is true; fail when that does not come."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"waited in vain for {what} {state()}"
        time.sleep(0.02)
    return True


def toml(value: dict[str, Any]) -> str:
    """Write a suite: tables are inline, and JSON's literals are TOML's."""
    return "".join(f"{key} = {_inline(item)}\n" for key, item in value.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)


def _variable(pid: int, name: str) -> str:
    """What a process was started with under this name; nothing of one that has ended."""
    with suppress(OSError):
        for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if pair.startswith(f"{name}=".encode()):
                return pair.decode().partition("=")[2]
    return ""


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None


def _of(home: Path) -> Iterator[tuple[int, str]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").readlink() == home
            if here or f"{home}/cache".encode() in (process / "environ").read_bytes():
                yield int(process.name), (process / "cmdline").read_bytes().decode()[-80:]
        except OSError:
            continue
