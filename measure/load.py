"""Read a run folder's files: traces as streams of records, cell.json as what it holds.

Nothing is computed here. Files recorded in another boot than the cell's are refused, because
their clocks have nothing in common. Only names found in the folder are opened: a path that a
file claims is never followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

import msgspec

from traces.cell import About
from traces.errors import Problem
from traces.reader import Damage, TraceError, read, traces_in
from traces.records import AnyRecord, Header
from traces.seal import seal

MAX_JSON = 64 << 20
T = TypeVar("T")


@dataclass(slots=True)
class CellFiles:
    """A cell's folder: what the orchestrator wrote about it, and the traces in it."""

    folder: Path
    about: About
    traces: list[Path]
    boot_id: str | None
    damage: Damage = field(default_factory=Damage)
    changed: list[str] = field(default_factory=list)
    """Traces that are not as they were when they were finished."""

    def records(self) -> Iterator[AnyRecord]:
        """All records of the cell's processes, one file after another."""
        return chain.from_iterable(read(path, self.damage) for path in self.traces)


def load_cell(run: Path, cell: Path) -> CellFiles:
    """Open one cell's folder. Raises TraceError when its files come from different boots."""
    paths = traces_in(cell)
    boot = _one_boot(paths)
    samples = sample_files(run)
    if boot is not None and samples:
        _refuse_other_boots(cell, boot, samples)
    about = read_json(cell / "cell.json", About)
    return CellFiles(cell, about, paths, boot, changed=changed(about, [*paths, *samples]))


def changed(about: About, paths: list[Path]) -> list[str]:
    """Return which traces of a cell are not, or no longer, what its seals say they were."""
    there = {path.name.removesuffix(".gz"): path for path in paths}
    sealed = about.sealed.items()
    return [name for name, was in sealed if name not in there or seal(there[name]) != was]


def load_cells(run: Path) -> list[CellFiles]:
    """Open every cell of a run that has a cell.json; of several attempts, the last."""
    newest: dict[tuple[str, int], CellFiles] = {}
    for path in sorted(run.glob("cells/*/cell.json"), key=_attempt):
        files = load_cell(run, path.parent)
        newest[(files.about.label, files.about.repeat)] = files
    return list(newest.values())


def sample_files(run: Path) -> list[Path]:
    """The sampler's files of a run: samples.jsonl, then samples.2.jsonl after a restart."""
    return sorted(traces_in(run, "samples*"), key=lambda p: len(p.name.removesuffix(".gz")))


def samples(run: Path, boot: str | None, damage: Damage | None = None) -> Iterator[AnyRecord]:
    """All sampler records of one boot."""
    for path in sample_files(run):
        if boot is None or header(path).boot_id == boot:
            yield from read(path, damage)


def header(path: Path) -> Header:
    """The first line of a trace."""
    first = next(read(path))
    assert isinstance(first, Header)
    return first


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file the orchestrator wrote, of this type. Raises Problem when it is not."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise Problem(f"{path}: too large to be a pagedbench file")
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        field = where.strip("`").removeprefix("$.") or "the file"
        raise Problem(f"{path}: {field}: {what}: make the run again, or mend the file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Problem(f"{path}: cannot be read ({_line(error)})") from None


def _attempt(path: Path) -> tuple[int, str]:
    stem, _, attempt = path.parent.name.rpartition(".a")
    return (int(attempt), stem) if stem and attempt.isdigit() else (0, path.parent.name)


def _one_boot(paths: list[Path]) -> str | None:
    boots = {path: header(path).boot_id for path in paths}
    if len(set(boots.values())) > 1:
        first, *rest = boots
        other = next(path for path in rest if boots[path] != boots[first])
        raise TraceError(
            f"{other}: recorded in another boot than {first.name}: the clocks cannot be aligned"
        )
    return next(iter(boots.values()), None)


def _refuse_other_boots(cell: Path, boot: str, paths: list[Path]) -> None:
    if all(header(path).boot_id != boot for path in paths):
        raise TraceError(
            f"{paths[0]}: recorded in another boot than {cell.name}: the clocks cannot be aligned"
        )


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
