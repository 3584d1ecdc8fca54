"""Where runs land: `results/<utc>-<shortsha>-<suite>/`, never on top of another.

A run's folder says what was asked (suite.json), holds every trace, and after every cell a
result.json that is whole: it is written beside and renamed into place.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from measure.load import read_json
from measure.watched import ABOUT
from traces.cell import About
from traces.errors import FULL, Problem
from traces.reader import kept

LOG = "command.log"
# What a run puts into its folder before its first cell, and a watch before what it watches.
BEFORE_CELLS = (
    "suite.json", "workload.json", "shape", "prepare.log", "sampler.log", "samples*.jsonl", "cells",
    ".*.unfinished", ABOUT, LOG,
)  # fmt: skip


class Folder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path | None, results: Path, suite: str, commit: str | None) -> "Folder":
        """Make a new folder; one that exists already is refused. Raises Problem."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = out or results / f"{stamp}-{(commit or 'nogit')[:7]}-{suite}"
        try:
            path.mkdir(parents=True, exist_ok=False)
            (path / "cells").mkdir()
        except FileExistsError:
            raise Problem(f"{path}: exists already: name another, or go on with --resume") from None
        except OSError as error:
            raise Problem(f"{path}: cannot be written ({error.strerror})") from None
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "Folder":
        """Open the folder of a run that was begun. Raises Problem."""
        if not (path / "suite.json").is_file():
            raise Problem(f"{path}: no run to go on with here (no suite.json)")
        return cls(path)

    def discard(self) -> None:
        """Remove the folder of a run or watch that did not begin, so that its name is free again.

        Where anything else is in it, it stays.
        """
        ours = all(any(map(found.match, BEFORE_CELLS)) for found in self.path.iterdir())
        if ours and not any(self.path.glob("cells/*")):
            shutil.rmtree(self.path, ignore_errors=True)

    def samples(self) -> Path:
        """Return a new name for the sampler's trace: a sampler that died has left one."""
        return next(self.numbered("samples", ".jsonl"))

    def cell(self, name: str) -> Path:
        """Make the folder of a cell's next attempt."""
        path = next(self.numbered(f"cells/{name}", "", ".a"))
        path.mkdir(parents=True)
        return path

    def cells(self) -> dict[str, About]:
        """Return what is known of each cell, of its last attempt, by name. Raises Problem."""
        known: dict[str, About] = {}
        for path in sorted(self.path.glob("cells/*/cell.json"), key=lambda p: p.stat().st_mtime):
            about = read_json(path, About)
            known[about.name] = about
        return known

    def write(self, name: str, data: Any) -> None:
        """Write a JSON file whole, or not at all. Raises Problem on a full disk."""
        raw = data if isinstance(data, bytes) else msgspec.json.format(msgspec.json.encode(data))
        path = self.path / name
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            unfinished.write_bytes(raw)
            unfinished.replace(path)
        except OSError as error:
            with suppress(OSError):  # read-only
                unfinished.unlink(missing_ok=True)
            remedy = ": free some space" if error.errno in FULL else ""
            raise Problem(f"{path}: cannot be written ({error.strerror}){remedy}") from None

    def point_latest(self) -> None:
        """Let `latest` beside this folder point at it, where links can be made."""
        link = self.path.parent / "latest"
        try:
            if link.is_symlink() or not link.exists():
                link.unlink(missing_ok=True)
                link.symlink_to(self.path.name)
        except OSError:
            return  # a convenience only

    def numbered(self, stem: str, suffix: str, before: str = ".") -> Iterator[Path]:
        """Yield paths that do not exist: stem, then stem.2, stem.3..."""
        number = 1
        while True:
            tail = "" if number == 1 else f"{before}{number}"
            path = self.path / f"{stem}{tail}{suffix}"
            number += 1
            if not kept(path).exists():
                yield path
