"""A whole run: prepare, sampler, cell after cell, a result after each, the report at the end."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from measure import build, canonical
from measure.result import Result
from orchestrator import backends, cell, environment, feasible, models
from orchestrator.plan import Cell, cells
from orchestrator.sampler import Sampler
from orchestrator.stopping import undisturbed
from orchestrator.store import Folder
from orchestrator.suite import Suite
from orchestrator.supervise import Child
from traces import duration
from traces.errors import INTERRUPTED, INVALID, OK, TIMEOUT, Broken, Problem

PREPARE_S = 3600.0
DONE = ("ok", "oom")  # what --resume does not run again

Show = Callable[[str, dict[str, Any]], None]


class Run:
    """One run of a suite in its folder. `show(kind, fields)` hears what happens."""

    def __init__(self, suite: Suite, folder: Folder, show: Show) -> None:
        self.suite = suite
        self.folder = folder
        self.show = show
        self.meta: dict[str, Any] = {}
        self.sampler: Sampler | None = None
        self._clean_used: dict[str, int] = {}

    def execute(self) -> Result:
        """Run every cell that has no result yet and return the result, complete or not."""
        todo = [c for c in cells(self.suite) if not self._done(c)]
        self.show("plan", {"cells": [c.name for c in todo], "folder": str(self.folder.path)})
        self.folder.write("suite.json", self.suite)
        prepared = self._prepare()
        interrupted = False
        try:
            self._start_sampler()
            self._set_meta(prepared)
            for planned in todo:
                self._one(planned, prepared)
                self._save(complete=False)
            self._judge(prepared)
        except KeyboardInterrupt:
            self.show("interrupted", {})
            interrupted = True
        finally:
            with undisturbed():
                self._stop_sampler()
        if not self.meta:
            raise KeyboardInterrupt
        result = self._save(not interrupted and all(map(self._done, cells(self.suite))))
        self.folder.point_latest()
        return result

    def _done(self, planned: Cell) -> bool:
        about = self.folder.cells().get(planned.name)
        return about is not None and about["status"] in DONE

    def _prepare(self) -> dict[str, Any]:
        """Make model and token ids ready in a process of their own: that takes torch."""
        source = models.resolve(self.suite.model)
        config = {
            "source": source.kind, "name": source.name, "path": source.path,
            "cache": str(models.cache()), "spec": msgspec.to_builtins(self.suite.workload),
            "workload": self.suite.name, "seed": self.suite.seed,
            "max_length": self.suite.max_length, "out": str(self.folder.path / "workload.json"),
        }  # fmt: skip
        self.show("phase", {"name": "prepare", "edge": "begin"})
        log = self.folder.path / "prepare.log"
        child = Child(
            "prepare", "workers.prepare:main", config, log,
            environment.for_worker(online=source.kind == "hub"),
        )  # fmt: skip
        try:
            return self._answer(child) | {"source": source}
        finally:
            child.stop(ask_s=2.0)

    def _judge(self, prepared: dict[str, Any]) -> None:
        """Check every cell's tokens against the model, in a process of its own (see parity)."""
        cells = {name: about for name, about in self.folder.cells().items() if _judgeable(about)}
        judged = all(about["parity"] for about in cells.values())
        if judged or prepared["random_weights"]:
            return
        traces = {n: str(self._cell_folder(about) / "worker.jsonl") for n, about in cells.items()}
        config = {
            "model": prepared["folder"], "device": self.meta["device"], "dtype": self.suite.dtype,
            "workload": str(self.folder.path / "workload.json"), "cells": traces,
            "reference": _reference(cells), "trust_remote_code": self.suite.trust_remote_code,
        }  # fmt: skip
        self.show("phase", {"name": "parity", "edge": "begin"})
        log = next(self.folder.numbered("parity", ".log"))
        child = Child("parity", "workers.parity:main", config, log, environment.for_worker())
        try:
            verdicts = self._answer(child)["parity"]
        except Problem as problem:
            verdicts = dict.fromkeys(cells, _unjudged(config["reference"], str(problem)))
        finally:
            child.stop(ask_s=2.0)
        for name, about in cells.items():
            Folder(self._cell_folder(about)).write("cell.json", about | {"parity": verdicts[name]})

    def _cell_folder(self, about: dict[str, Any]) -> Path:
        return self.folder.path / "cells" / str(about["folder"])

    def _answer(self, child: Child) -> dict[str, Any]:
        """Wait for a helper process's answer. Raises Problem when it gives none."""
        end = time.monotonic() + PREPARE_S
        while time.monotonic() < end:
            message = child.message(cell.POLL_S)
            if message is None:
                if not child.alive:
                    break
            elif message["kind"] == "done":
                return message
            elif message["kind"] == "failed" and message["error"] == Problem.__name__:
                raise Problem(message["message"])
            elif message["kind"] == "failed":
                raise Broken(f"{message['error']}: {message['message']} (see {child.log})")
            elif message["kind"] == "phase":
                self.show("phase", message)
            self.show("tick", {})
        lines = child.tail()
        raise Broken(
            f"{child.name}: {child.exit} ({lines[-1] if lines else 'no log'}; see {child.log})"
        )

    def _start_sampler(self) -> Sampler:
        trace = self.folder.samples()
        log = self.folder.path / "sampler.log"
        sampler = Sampler(trace, log, duration.parse(self.suite.interval))
        self.sampler = sampler
        if not self._clean_used:
            state = sampler.state() or {"devices": []}
            self._clean_used = {
                d["uuid"]: d["used"] for d in state["devices"] if d["used"] is not None
            }
        return sampler

    def _stop_sampler(self) -> None:
        if self.sampler is not None:
            self.meta["sampler"] = self.sampler.stop()

    def _set_meta(self, prepared: dict[str, Any]) -> None:
        assert self.sampler is not None
        source, shape = prepared["source"], prepared["model"]
        sizes = {
            k: shape[k] for k in ("layers", "kv_heads", "head_dim", "vocab_size", "max_position")
        }
        self.meta = {
            "suite": msgspec.to_builtins(self.suite),
            "model": {
                "name": source.name, "source": source.kind, "sha256": prepared["weights_sha256"],
                "weights_bytes": None, "same_weights": source.kind != "shape", **sizes,
            },
            "dtype": self.suite.dtype,
            "device": device(self.suite.device, self.sampler),
            "workload": prepared["workload"],
            "environment": environment.describe(self.sampler.devices),
            "volatile": {"begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
        }  # fmt: skip
        feasible.check(self.suite, shape, prepared["max_length"], self.meta["device"])
        self.show("meta", self.meta)

    def _one(self, planned: Cell, prepared: dict[str, Any]) -> None:
        """Run one cell and write down how it ended, whatever that was."""
        if self.sampler is None or not self.sampler.alive:
            self._start_sampler()
        assert self.sampler is not None
        folder = self.folder.cell(planned.name)
        self.show("cell", {"name": planned.name, "sampler": self.sampler})
        outcome = cell.Outcome()
        try:
            cell.run(
                outcome, planned.name, self._job(planned, prepared, folder), folder, self.sampler,
                duration.parse(self.suite.timeout), self.show, planned.entry.python,
            )  # fmt: skip
        finally:
            with undisturbed():
                self._write_cell(planned, prepared, folder, outcome)
            self.show("ended", {"name": planned.name, "outcome": outcome})

    def _job(self, planned: Cell, prepared: dict[str, Any], folder: Path) -> dict[str, Any]:
        entry, suite = planned.entry, self.suite
        return {
            "module": backends.find(entry.name, suite.name).module,
            "cell": planned.name, "backend": entry.name, "options": entry.options,
            "model": prepared["folder"], "random_weights": prepared["random_weights"],
            "dtype": suite.dtype, "device": self.meta["device"],
            "workload": str(self.folder.path / "workload.json"), "folder": str(folder),
            "max_length": prepared["max_length"], "seed": suite.seed,
            "trust_remote_code": suite.trust_remote_code, "budget_s": suite.budget_s,
            "kv_budget": suite.kv_budget_bytes, "clean_used": self._clean_used,
        }  # fmt: skip

    def _write_cell(
        self, planned: Cell, prepared: dict[str, Any], folder: Path, outcome: cell.Outcome
    ) -> None:
        about = {
            "label": planned.entry.title, "backend": planned.entry.name,
            "options": planned.entry.options, "repeat": planned.repeat,
            "requests_asked": prepared["workload"]["requests"], "folder": folder.name,
            "parity": None, **asdict(outcome),
        }  # fmt: skip
        Folder(folder).write("cell.json", about)

    def _save(self, complete: bool) -> Result:
        result = build.build(self.folder.path, {**self.meta, "complete": complete})
        self.folder.write("result.json", canonical.dumps(result))
        return result


def _judgeable(about: dict[str, Any]) -> bool:
    return bool(about["status"] == "ok")


def _reference(cells: dict[str, dict[str, Any]]) -> str:
    """Return the cell whose ids the others are compared with: the plainest way to generate."""
    plain = [name for name, about in cells.items() if about["backend"] == "hf-sequential"]
    return min(plain or cells)


def _unjudged(reference: str, why: str) -> dict[str, Any]:
    return {
        "verdict": "n/a", "method": "greedy regret", "reference": reference, "identical": 0,
        "compared": 0, "note": f"not judged: {why}",
    }  # fmt: skip


def device(asked: str, sampler: Sampler) -> str:
    """Return cpu or cuda. Raises Problem when a GPU is asked for and cannot be used."""
    torch = backends.installed("torch") or ""
    usable = bool(sampler.devices) and "+cpu" not in torch
    if asked == "cuda" and not sampler.devices:
        raise Problem(f"device cuda: no GPU here ({sampler.no_devices}): use --device cpu")
    if asked == "cuda" and not usable:
        raise Problem(f"device cuda: torch {torch} is a CPU build: run `make setup ACCEL=cuda`")
    return "cuda" if usable and asked != "cpu" else "cpu"


def exit_code(result: Result) -> int:
    """Return 0 when every cell has its numbers (out of memory is one), else the worst."""
    statuses = {c.status for c in result.cells}
    if statuses <= set(DONE) and result.complete:
        return OK
    if "interrupted" in statuses or not (statuses - set(DONE)):
        return INTERRUPTED
    return TIMEOUT if statuses <= {*DONE, "timeout"} else INVALID
