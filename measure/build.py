"""A run folder to a Result: cells from their traces, the rest from what the orchestrator knew.

`build(folder, meta)` is called after every cell of a run; `build(folder)` does the same later
from the folder alone, taking what is not in the traces (model, workload, environment) from
result.json. Nothing is written here: `measure.canonical` makes the bytes, `report.pages` the pages.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from measure import canonical, kv, ledger, phases, result, timing
from measure.checks import checks
from measure.load import CellFiles, load_cells, read_json, samples
from measure.merge import merge
from measure.sampled import Sampled, sampled
from measure.suspect import doubts
from measure.timeline import Timeline
from traces.errors import Problem
from traces.owned import owned
from traces.reader import Damage

META = ("suite", "model", "dtype", "device", "workload", "environment", "complete")
NOT_SHOWN = ("modules_before_engine",)  # facts for the tests, long and of no interest to a reader
T = TypeVar("T")


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
            if (files.about.get("label"), int(files.about.get("repeat") or 0)) == (label, repeat):
                return files
        return None

    def cell(
        self, files: CellFiles, formula: int | None = None, cores: int | None = None
    ) -> result.Cell:
        """One cell's numbers. `formula` is what a slot's bytes should be by the model's shape."""
        asked = [int(request["output_tokens"]) for request in self.requests]
        made = cell(files.about, self.timeline(files), asked, formula, cores)
        if bad := files.damage.bad + self.damage.bad:
            made.suspect.append(f"{bad} lines of the traces could not be read")
        return made


def build(
    folder: Path, meta: Mapping[str, Any] | None = None, run: Run | None = None
) -> result.Result:
    """Read every cell of the folder and assemble the Result."""
    known = dict(meta if meta is not None else stored_meta(folder))
    missing = [name for name in META if name not in known and name != "complete"]
    if missing:
        raise Problem(f"{folder}: cannot build a result without {', '.join(missing)}")
    run = run or Run(folder)
    model = _typed(known["model"], result.Model)
    formula = bytes_per_slot(model, known["dtype"])
    cores = (known["environment"].get("cpu") or {}).get("cores")
    made = (run.cell(files, formula, cores) for files in run.cells)
    cells = sorted(made, key=_order(known["suite"]))
    volatile = dict(known.get("volatile") or {})
    volatile["cells"] = {
        f"{files.about.get('label')}.r{files.about.get('repeat')}": _volatile(files)
        for files in run.cells
    }
    return result.Result(
        suite=known["suite"],
        model=model,
        dtype=known["dtype"],
        device=known["device"],
        workload=_typed(known["workload"], result.Workload),
        environment=known["environment"],
        cells=cells,
        sampler=known.get("sampler") or _sampler(run),
        complete=bool(known.get("complete")),
        volatile=volatile,
    )


def cell(
    about: dict[str, Any],
    timeline: Timeline,
    asked: list[int],
    formula: int | None = None,
    cores: int | None = None,
) -> result.Cell:
    """One cell: what cell.json says of it, and what its timeline shows."""
    counted = len(timeline.requests) or None
    speed = timing.timing(timeline)
    cache = kv.kv(timeline)
    memory = ledger.ledger(timeline, certified(about, "before"))
    wanted = sum(asked[: counted or 0]) or None
    return result.Cell(
        label=str(about["label"]),
        backend=str(about["backend"]),
        options=about.get("options") or {},
        repeat=int(about.get("repeat") or 0),
        status=_typed(about["status"], result.Status),  # type: ignore[arg-type]
        reason=str(about.get("reason") or ""),
        requests_run=counted,
        requests_asked=int(about.get("requests_asked") or len(asked)),
        truncated=str(about.get("truncated") or ""),
        output_tokens=sum(r.output_tokens for r in timeline.requests) if counted else None,
        timing=speed,
        kv=cache,
        ledger=memory,
        phases=phases.phases(timeline),
        device_after=certified(about, "after"),
        parity=_typed(about["parity"], result.Parity) if about.get("parity") else None,
        validity=checks(timeline, cache, memory, speed, wanted, formula),
        suspect=_union(about.get("suspect") or [], doubts(timeline, cores)),
        engine={k: v for k, v in timeline.facts.items() if k not in NOT_SHOWN},
        rows=timing.rows(timeline),
    )


def bytes_per_slot(model: result.Model, dtype: str) -> int | None:
    """Keys and values of one token over all layers, where the cache has the model's dtype."""
    width = {"float32": 4, "float16": 2, "bfloat16": 2}.get(dtype)
    return width and 2 * model.layers * model.kv_heads * model.head_dim * width


def certified(about: dict[str, Any], when: str) -> int | None:
    """Bytes in use on the cell's devices before or after it, from its clean-device certificate."""
    found = (about.get("certificate") or {}).get(when) or {}
    used = [device.get("used") for device in owned(found.get("devices") or [])]
    return sum(used) if used and None not in used else None


def stored_meta(folder: Path) -> dict[str, Any]:
    """What the run's result.json says beside its cells."""
    stored = canonical.loads(folder / "result.json")
    return {
        **{name: getattr(stored, name) for name in META},
        "sampler": stored.sampler,
        "volatile": stored.volatile,
    }


def _volatile(files: CellFiles) -> dict[str, Any]:
    names = ("pid", "certificate", "log_tail")
    return {"folder": files.folder.name} | {
        name: files.about[name] for name in names if files.about.get(name) is not None
    }


def _sampler(run: Run) -> dict[str, Any]:
    """What the samplers said of themselves when they stopped."""
    ends = [end for files in run.cells for end in run.seen(files.boot_id).ends]
    if not ends:
        return {}
    last = msgspec.to_builtins(ends[-1])
    return {name: value for name, value in last.items() if name not in ("t", "k", "why")}


def _workload(folder: Path) -> list[dict[str, Any]]:
    """The requests asked for: id, text or null, prompt_ids, output_tokens."""
    path = folder / "workload.json"
    return list(read_json(path).get("requests") or []) if path.is_file() else []


def _order(suite: Mapping[str, Any]) -> Any:
    """Cells in the suite's order, then by repeat: never in the random order they were run in."""
    places: dict[str, int] = {}
    for place, entry in enumerate(suite.get("backend") or []):
        places.setdefault(str(entry.get("label") or entry.get("name")), place)
    return lambda cell: (places.get(cell.label, len(places)), cell.label, cell.repeat)


def _typed(value: Any, kind: type[T]) -> T:
    try:
        return value if isinstance(value, msgspec.Struct) else msgspec.convert(value, kind)  # type: ignore[return-value]
    except msgspec.ValidationError as error:
        raise Problem(f"the run folder says something unexpected: {error}") from None


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*map(str, first), *second]))
