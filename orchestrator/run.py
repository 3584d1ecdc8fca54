"""A whole run: prepare, sampler, cell after cell, a result after each, the report at the end."""

import time
from pathlib import Path
from typing import Literal

import msgspec

from measure import build, canonical, result
from measure.load import changed, sample_files
from measure.result import Result
from orchestrator import (
    backends,
    cell,
    environment,
    feasible,
    models,
    parity,
    placement,
    processor,
)  # fmt: skip
from orchestrator.events import CellBegins, CellEnded, Known, Planned, RunInterrupted, Show
from orchestrator.helpers import answered
from orchestrator.plan import PlannedCell, cells, points
from orchestrator.sampler import SamplerProcess
from orchestrator.stopping import undisturbed
from orchestrator.store import Folder
from orchestrator.suite import Suite
from orchestrator.supervise import Child
from traces import duration
from traces.cell import About
from traces.errors import INTERRUPTED, INVALID, OK, TIMEOUT
from traces.job import Job
from traces.messages import Phase
from traces.preparing import Note, Preparation, Prepared, Source
from traces.reader import traces_in
from traces.sampling import Settings
from traces.seal import seal

DONE = ("ok", "oom")  # what --resume does not run again


class SuiteRun:
    """One run of a suite in its folder. `show` hears what happens."""

    def __init__(self, suite: Suite, folder: Folder, show: Show) -> None:
        self.suite = suite
        self.folder = folder
        self.show = show
        self.meta: build.Meta | None = None
        self.sampler: SamplerProcess | None = None
        self._clean_used: dict[str, int] = {}
        self._watched: list[str] = []  # folders of the cells that this sampler saw

    def execute(self) -> Result:
        """Run every cell that has no result yet and return the result, complete or not."""
        todo = [c for c in cells(self.suite) if not self._done(c)]
        self.show(Planned([c.name for c in todo], str(self.folder.path)))
        self.folder.write("suite.json", self.suite)
        source = models.resolve(self.suite.model)
        prepared = self._prepare(source)
        interrupted = False
        try:
            self._start_sampler()
            meta = self._set_meta(source, prepared)
            for planned in todo:
                self._one(planned, prepared, meta.device)
                self._save(complete=False)
            if not prepared.random_weights:
                parity.judge(
                    self.folder, prepared.folder, meta.device, self.suite.dtype,
                    self.suite.trust_remote_code, self.show,
                )  # fmt: skip
        except KeyboardInterrupt:
            self.show(RunInterrupted())
            interrupted = True
        finally:
            with undisturbed():
                self._stop_sampler()
        if self.meta is None:
            raise KeyboardInterrupt
        saved = self._save(not interrupted and all(map(self._done, cells(self.suite))))
        self.folder.point_latest()
        return saved

    def _done(self, planned: PlannedCell) -> bool:
        about = self.folder.cells().get(planned.name)
        if about is None or about.status not in DONE:
            return False
        cell = self.folder.path / "cells" / about.folder
        return not changed(about, [*traces_in(cell), *sample_files(self.folder.path)])

    def _prepare(self, source: Source) -> Prepared:
        """Make model and token ids ready in a process of their own: that takes torch."""
        asked = Preparation(
            source=source, cache=str(models.cache()), name=self.suite.name,
            spec=self.suite.workload, seed=self.suite.seed, max_length=self.suite.max_length,
            out=str(self.folder.path / "workload.json"),
            trust_remote_code=self.suite.trust_remote_code,
        )  # fmt: skip
        self.show(Phase(name="prepare", edge="begin"))
        log = self.folder.path / "prepare.log"
        child = Child(
            "prepare", "workers.prepare:main", asked, log,
            environment.for_worker(online=source.kind == "hub"),
        )  # fmt: skip
        try:
            return answered(child, Prepared, self.show)
        finally:
            child.stop(ask_s=2.0)

    def _start_sampler(self) -> None:
        if self.sampler is not None:  # it died
            self._seal_samples()
        self._samples = self.folder.samples()
        settings = Settings(path=str(self._samples), interval_s=duration.parse(self.suite.interval))
        self.sampler = SamplerProcess(settings, self.folder.path / "sampler.log")
        if not self._clean_used:
            state = self.sampler.state() or []
            self._clean_used = {d.uuid: d.used for d in state if d.used is not None}

    def _stop_sampler(self) -> None:
        if self.sampler is not None:
            account = self.sampler.stop()
            self._seal_samples()
            if self.meta is not None:
                self.meta.sampler = build.account(account)

    def _seal_samples(self) -> None:
        """Let the cells that a sampler watched know its trace as it left it."""
        for about in self.folder.cells().values():
            if about.folder in self._watched:
                about.sealed[self._samples.name] = seal(self._samples)
                Folder(self.folder.path / "cells" / about.folder).write("cell.json", about)
        self._watched.clear()

    def _set_meta(self, source: Source, prepared: Prepared) -> build.Meta:
        assert self.sampler is not None
        shape, chosen = prepared.model, placement.device(self.suite.device, self.sampler)
        self._settle_dtype(chosen, self.sampler)
        self.meta = build.Meta(
            suite=msgspec.to_builtins(self.suite),
            model=result.Model(
                name=source.name, source=source.kind, sha256=prepared.weights_sha256,
                layers=shape.layers, kv_heads=shape.kv_heads, head_dim=shape.head_dim,
                vocab_size=shape.vocab_size, max_position=shape.max_position or prepared.max_length,
                weights_bytes=None, same_weights=source.kind != "shape",
            ),
            dtype=self.suite.dtype, device=chosen,
            workload=msgspec.convert(prepared.workload, result.Workload, from_attributes=True),
            environment=msgspec.to_builtins(environment.describe(self.sampler.devices)),
            volatile={"begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())},
        )  # fmt: skip
        feasible.check(self.suite, shape, prepared.max_length, chosen)
        self.show(Known(chosen, prepared.workload.output_tokens))
        return self.meta

    def _settle_dtype(self, device: Literal["cpu", "cuda"], sampler: SamplerProcess) -> None:
        """Let "auto" be one precision from here on, and say which and why."""
        if self.suite.dtype == "auto":
            dtype, why = placement.dtype(device, sampler.devices, processor.cpu())
            self.suite = msgspec.structs.replace(self.suite, dtype=dtype)
            self.show(Note(text=f"dtype auto: {dtype}, for {why}"))

    def _one(self, planned: PlannedCell, prepared: Prepared, device: str) -> None:
        """Run one cell and write down how it ended, whatever that was."""
        if self.sampler is None or not self.sampler.alive:
            self._start_sampler()
        assert self.sampler is not None
        folder = self.folder.cell(planned.name)
        self.show(CellBegins(planned.name, self.sampler))
        about = About(
            label=planned.entry.title, backend=planned.entry.name, options=planned.entry.options,
            repeat=planned.repeat, requests_asked=prepared.workload.requests, folder=folder.name,
        )  # fmt: skip
        job = self._job(planned, prepared, folder, device)
        about.points = job.points
        try:
            cell.run(
                about, job, self._clean_used,
                self.sampler, duration.parse(self.suite.timeout), self.show, planned.entry.python,
            )  # fmt: skip
        finally:
            with undisturbed():
                self._watched.append(folder.name)
                about.sealed = {trace.name: seal(trace) for trace in traces_in(folder)}
                Folder(folder).write("cell.json", about)
            self.show(CellEnded(about))

    def _job(self, planned: PlannedCell, prepared: Prepared, folder: Path, device: str) -> Job:
        entry, suite = planned.entry, self.suite
        transformers = entry.name.startswith("hf-")
        per_token = prepared.model.bytes_per_token(suite.dtype, transformers)
        return Job(
            module=backends.find(entry.name, suite.name).module,
            cell=planned.name, backend=entry.name, options=entry.options,
            model=prepared.folder, random_weights=prepared.random_weights,
            dtype=suite.dtype, device=device,
            workload=str(self.folder.path / "workload.json"), folder=str(folder),
            max_length=prepared.max_length, seed=suite.seed,
            trust_remote_code=suite.trust_remote_code, budget_s=suite.budget_s,
            concurrency=suite.concurrency,
            kv_budget=max(suite.kv_budgets(per_token), default=None),
            points=points(suite, entry, per_token),
        )  # fmt: skip

    def _save(self, complete: bool) -> Result:
        assert self.meta is not None
        self.meta.complete = complete
        made = build.build(self.folder.path, self.meta)
        self.folder.write("result.json", canonical.dumps(made))
        return made


def exit_code(run: Result) -> int:
    """Return 0 when every cell has its numbers (out of memory is one), else the worst."""
    statuses = {c.status for c in run.cells}
    if statuses <= set(DONE) and run.complete:
        return OK
    if "interrupted" in statuses or not (statuses - set(DONE)):
        return INTERRUPTED
    return TIMEOUT if statuses <= {*DONE, "timeout"} else INVALID
