"""A run folder to a Result: cells from their traces, the rest from what the orchestrator knew.

`build(folder, meta)` is called after every cell of a run; `build(folder)` does the same later
from the folder alone, taking what is not in the traces (model, workload, environment) from
result.json. Nothing is written here: `measure.canonical` makes the bytes, `report.pages` the pages.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from measure import canonical, invariants, kv, ledger, phases, result, timing, work
from measure.checks import run_checks
from measure.enough import enough
from measure.load import CellFiles, load_cells, read_json, samples
from measure.merge import merge
from measure.sampled import Sampled, sampled
from measure.suspect import doubts
from measure.timeline import Timeline, at_point
from traces import kv as sizes
from traces.cell import About
from traces.facts import to_values
from traces.job import Point, Prompt, Workload
from traces.layout import Layout
from traces.reader import Damage
from traces.records import End

NOT_SHOWN = ("modules_before_engine",)  # facts for the tests, long and of no interest to a reader


class Meta(Struct, kw_only=True):
    """What is known of a run beside its cells; as in the Result."""

    suite: dict[str, Any]
    model: result.Model
    dtype: str
    device: Literal["cpu", "cuda"]
    workload: result.Workload
    environment: dict[str, Any]
    sampler: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    volatile: dict[str, Any] = field(default_factory=dict)


class Run:
    """A run folder's cells, samples and requests, read once and merged on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells = load_cells(folder)
        self.damage = Damage()
        self._seen: dict[str | None, Sampled] = {}
        self.requests = _workload(folder)
        self._timelines: dict[Path, Timeline] = {}

    def seen(self, boot: str | None) -> Sampled:
        """The samples of one boot."""
        if boot not in self._seen:
            self._seen[boot] = sampled(samples(self.folder, boot, self.damage))
        return self._seen[boot]

    def timeline(self, files: CellFiles) -> Timeline:
        """One cell's timeline, merged once."""
        if files.folder not in self._timelines:
            merged = merge(files.records(), self.seen(files.boot_id))
            self._timelines[files.folder] = merged
        return self._timelines[files.folder]

    def find(self, label: str, repeat: int) -> CellFiles | None:
        """The files of one cell."""
        for files in self.cells:
            if (files.about.label, files.about.repeat) == (label, repeat):
                return files
        return None

    def window(self, label: str, repeat: int) -> Timeline | None:
        """The timeline of one run: of a cell, or of a point in one; None where nothing is known."""
        for files in self.cells:  # a point may have its cell's label: it is the run by that name
            for point in files.about.points:
                if (point.label, point.repeat) == (label, repeat) and files.traces:
                    timeline = self.timeline(files)
                    return at_point(timeline, point.name) if point.name in timeline.points else None
        cell = self.find(label, repeat)
        return self.timeline(cell) if cell is not None and cell.traces else None

    def cell(
        self, files: CellFiles, offered: result.Work, formula: int | None = None,
        cores: int | None = None,
    ) -> result.Cell:  # fmt: skip
        """One cell's numbers. `formula` is what a slot's bytes should be by the model's shape."""
        asked = {request.id: request.output_tokens for request in self.requests}
        made = cell(files.about, self.timeline(files), offered, asked, formula, cores)
        if bad := files.damage.bad + self.damage.bad:
            made.suspect.append(f"{bad} lines of the traces could not be read")
        if files.changed and made.status in ("ok", "oom", "invalid"):
            made.status = "invalid"
            made.reason = f"{', '.join(files.changed)}: not as written: measure anew: run --resume"
        return made


def build(folder: Path, meta: Meta | None = None, run: Run | None = None) -> result.Result:
    """Read every cell of the folder and assemble the Result."""
    meta, run = meta or stored_meta(folder), run or Run(folder)
    cores = (meta.environment.get("cpu") or {}).get("cores")
    formula = bytes_per_slot(meta.model, meta.dtype)
    offered = work.offered(meta.suite, meta.workload)
    made = [run.cell(files, offered, formula, cores) for files in run.cells]
    return result.Result(
        suite=meta.suite,
        model=meta.model,
        dtype=meta.dtype,
        device=meta.device,
        workload=meta.workload,
        environment=meta.environment,
        cells=sorted(made, key=_order(meta.suite)),
        sampler=meta.sampler or _sampler(run),
        complete=meta.complete and not any(work.in_vain(found) for found in made),
        volatile={
            **meta.volatile,
            "cells": {files.about.name: _volatile(files) for files in run.cells},
        },
    )


def cell(
    about: About,
    timeline: Timeline,
    offered: result.Work,
    asked: dict[str, int],
    formula: int | None = None,
    cores: int | None = None,
) -> result.Cell:
    """One cell: what cell.json says of it, and what its timeline shows."""
    after = about.certificate.after
    before = about.certificate.before.used if about.certificate.before else None
    memory = ledger.close_ledger(timeline, before)
    windows = [
        (point, at_point(timeline, point.name))
        for point in about.points
        if point.name in timeline.points
    ]
    points = [
        _point(point, about, window, memory, offered, asked, formula, cores)
        for point, window in windows
    ]
    speed = None if points else timing.summarize(timeline, offered.deadline_s)
    cache = None if points else kv.summarize(timeline)
    made = result.Cell(
        label=about.label,
        backend=about.backend,
        options=about.options,
        repeat=about.repeat,
        status=about.status,
        reason=about.reason,
        requests_asked=about.requests_asked or len(asked),
        truncated=about.truncated,
        work=None if about.truncated else offered,
        **work.done(timeline.requests),
        timing=speed,
        kv=cache,
        ledger=memory,
        phases=phases.summarize(timeline, before),
        device_after=phases.device_after(timeline, before, after.used if after else None),
        enough=enough(timeline, cache, memory),
        parity=about.parity,
        validity=run_checks(
            timeline, cache, memory, speed, work.wanted(timeline.requests, asked), formula
        ),
        suspect=list(dict.fromkeys([*about.suspect, *([] if points else doubts(timeline, cores))])),
        layout=timeline.layout if timeline.layout != Layout() else None,
        engine={k: v for k, v in to_values(timeline.facts).items() if k not in NOT_SHOWN},
        rows=[] if points else timing.rows(timeline),
        points=points,
    )
    invariants.judge(made, [window for _, window in windows] or [timeline], asked, formula)
    return made


def _point(
    point: Point, about: About, timeline: Timeline, memory: result.Ledger | None,
    offered: result.Work, asked: dict[str, int], formula: int | None, cores: int | None,
) -> result.Point:  # fmt: skip
    """One run window of a cell; its memory is the cell's."""
    speed, cache = timing.summarize(timeline, offered.deadline_s), kv.summarize(timeline)
    budget = {} if point.kv_budget is None else {"kv_budget": point.kv_budget}
    return result.Point(
        label=point.label,
        repeat=point.repeat,
        changes={"policy": point.policy, **budget},
        truncated=about.truncated,
        **work.done(timeline.requests),
        timing=speed,
        kv=cache,
        enough=enough(timeline, cache, memory),
        parity=about.parities.get(point.name),
        validity=run_checks(
            timeline, cache, memory, speed, work.wanted(timeline.requests, asked), formula
        ),
        suspect=doubts(timeline, cores),
        rows=timing.rows(timeline),
    )


def bytes_per_slot(model: result.Model, dtype: str) -> int | None:
    """Keys and values of one token over all layers, where the cache has the model's dtype."""
    if dtype not in sizes.DTYPE_BYTES:
        return None
    return sizes.bytes_per_token(model.layers, model.kv_heads, model.head_dim, dtype)


def stored_meta(folder: Path) -> Meta:
    """What the run's result.json says beside its cells."""
    return msgspec.convert(canonical.loads(folder / "result.json"), Meta, from_attributes=True)


def account(end: End | None) -> dict[str, Any]:
    """What a sampler said of itself when it stopped; nothing of one that died."""
    said = {} if end is None else msgspec.to_builtins(end)
    return {name: value for name, value in said.items() if name not in ("t", "k", "why")}


def _volatile(files: CellFiles) -> dict[str, Any]:
    about = files.about
    pid = {} if about.pid is None else {"pid": about.pid}
    certificate = msgspec.to_builtins(about.certificate)
    kept = {"certificate": certificate, "log_tail": about.log_tail}
    return {"folder": files.folder.name, **pid, **kept}


def _sampler(run: Run) -> dict[str, Any]:
    """What the last sampler said of itself when it stopped."""
    ends = [end for files in run.cells for end in run.seen(files.boot_id).ends]
    return account(ends[-1] if ends else None)


def _workload(folder: Path) -> list[Prompt]:
    """The requests asked for."""
    path = folder / "workload.json"
    return read_json(path, Workload).requests if path.is_file() else []


def _order(suite: dict[str, Any]) -> Any:
    """Cells in the suite's order, then by repeat: never in the random order they were run in."""
    places: dict[str, int] = {}
    for place, entry in enumerate(suite.get("backend") or []):
        places.setdefault(str(entry.get("label") or entry.get("name")), place)
    return lambda cell: (places.get(cell.label, len(places)), cell.label, cell.repeat)
