"""Run one cell as the orchestrator would, in a fresh process, and read what it recorded.

The worker is `workers.loop.main` with a channel that says go at once. Its backend is a `spy`: the
real one, with a second set of eyes on the engine's own tensors.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from traces.job import Job, Prompt, Workload
from traces.layout import Layout
from traces.reader import read
from traces.records import AnyRecord, Blocks, Facts, Kv, LaidOut, Phase, Request
from workers.workloads import fingerprint

if TYPE_CHECKING:
    from tests.workers.schedules import Case

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("hf-sequential", "hf-static", "hf-batched", "hf-paged", "vllm")
ROWS = BACKENDS[:3]
PAGED = BACKENDS[3:]
MAX_LENGTH = 192
BLOCK = 32
LIMIT_S = 180
FOREVER = 1 << 63


@dataclass
class Ran:
    """What a cell left behind; everything but `facts` and `layout` is of the run phase."""

    folder: Path
    code: int
    log: str
    messages: list[dict[str, Any]]
    prompts: list[Prompt]
    kv: list[Kv] = field(default_factory=list)
    blocks: list[Blocks] = field(default_factory=list)
    requests: dict[str, Request] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)
    seen: list[dict[str, Any]] = field(default_factory=list)

    def take(self, records: list[AnyRecord]) -> tuple[int, int]:
        """Keep the facts, and what was recorded in the run phase; return when that was."""
        edges = {r.edge: r.t for r in records if isinstance(r, Phase) and r.name == "run"}
        begin, end = edges.get("begin", FOREVER), edges.get("end", FOREVER)
        for record in records:
            if isinstance(record, Facts):
                self.facts |= record.values
            elif isinstance(record, LaidOut):
                self.layout = record.layout
            elif not begin <= record.t <= end:
                continue
            elif isinstance(record, Kv):
                self.kv.append(record)
            elif isinstance(record, Blocks):
                self.blocks.append(record)
            elif isinstance(record, Request):
                self.requests[record.id] = record
        return begin, end

    @property
    def steps(self) -> list[Kv]:
        """The records of steps; those of an idle engine are left out."""
        return [kv for kv in self.kv if kv.running]

    @property
    def outputs(self) -> dict[str, list[int]]:
        """Output ids by request."""
        return {name: request.token_ids for name, request in self.requests.items()}

    def said(self, kind: str) -> dict[str, Any]:
        """The last message of this kind."""
        return next(m for m in reversed(self.messages) if m["kind"] == kind)

    def eyes(self, kind: str) -> list[dict[str, Any]]:
        """What the spy saw of this kind."""
        return [line for line in self.seen if line["kind"] == kind]

    def tables(self) -> Iterator[tuple[Kv, dict[str, list[int]]]]:
        """Each kv record with the block tables that the blocks records add up to by then."""
        tables: dict[str, list[int]] = {}
        changes = iter([*self.blocks, None])
        change = next(changes)
        for kv in self.kv:
            while change is not None and change.t <= kv.t:
                apply(tables, change)
                change = next(changes)
            yield kv, {name: list(blocks) for name, blocks in tables.items() if blocks}
        assert change is None, "blocks changed hands after the last step"


def apply(tables: dict[str, list[int]], change: Blocks) -> None:
    """Take one blocks record into the tables. Raises where it loses what was not held."""
    table = tables.setdefault(change.request, [])
    for block in change.lost:
        table.remove(block)
    table += change.gained


def run(
    folder: Path, model: Path, backend: str, prompts: Sequence[Prompt], module: str = "",
    max_length: int = MAX_LENGTH, **job: Any,
) -> Ran:  # fmt: skip
    """Run a cell in `folder`, float32 on the CPU. `job` overrides fields of the Job."""
    folder.mkdir(parents=True)
    workload = Workload(name="test", sha256=fingerprint(list(prompts)), requests=list(prompts))
    Path(folder, "workload.json").write_bytes(msgspec.json.encode(workload))
    options = {"block_size": BLOCK} if backend in PAGED else {}
    options |= job.pop("options", {})
    whole = Job(
        module=module or "tests.workers.spy",
        cell=backend, backend=backend, options=options, model=str(model),
        random_weights=False, dtype="float32", device="cpu",
        workload=str(folder / "workload.json"), folder=str(folder),
        max_length=max_length, seed=0, **job,
    )  # fmt: skip
    Path(folder, "config.json").write_bytes(msgspec.json.encode(whole))
    code, log = python("tests.workers.process", folder / "config.json")
    return _read(folder, code, log, list(prompts))


def scheduled(folder: Path, model: Path, cases: Sequence["Case"]) -> list[Ran]:
    """Drive vLLM's scheduler alone, once for each case."""
    folder.mkdir(parents=True)
    path = folder / "cases.json"
    path.write_bytes(msgspec.json.encode(list(cases)))
    code, log = python("tests.workers.schedules", model, path)
    assert code == 0, log[-4000:]
    found = []
    for number, case in enumerate(cases):
        records = list(read(folder / f"{number}.jsonl"))
        kv = [r for r in records if isinstance(r, Kv)]
        blocks = [r for r in records if isinstance(r, Blocks)]
        found.append(Ran(folder, code, log, [], case.requests, kv=kv, blocks=blocks))
    return found


def python(module: str, *arguments: object) -> tuple[int, str]:
    """Run a module in a fresh process; return its exit code and what it printed.

    One thread: this model is too small for two, which wait for each other on a busy machine.
    """
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "4", "VLLM_LOGGING_LEVEL": "WARNING",
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT, env=environment, timeout=LIMIT_S, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout


def _read(folder: Path, code: int, log: str, prompts: list[Prompt]) -> Ran:
    ran = Ran(folder, code, log, list(_lines(folder / "messages.jsonl")), prompts)
    records = [
        record
        for name in ("worker.jsonl", "engine.jsonl")
        if Path(folder, name).exists()
        for record in read(folder / name)
    ]
    begin, end = ran.take(records)
    seen = _lines(folder / "spy.jsonl")
    ran.seen = [line for line in seen if begin <= line["t"] <= end or line["kind"] == "pool"]
    return ran


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())
