"""The results of a results folder: which there are, and which one a name means.

Listing reads only what it needs of each result.json, so that a thousand of them take a moment; a
damaged one is passed over by name. Nothing here writes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from compare.diff import facts
from measure import canonical
from measure.result import Result
from orchestrator import git
from traces.errors import Problem


class StoredResult(msgspec.Struct, kw_only=True):
    """One stored result: where it is, and what a list shows of it."""

    path: Path
    begun: str
    commit: str | None
    dirty: bool
    suite: str


class _Named(msgspec.Struct):
    name: str = ""


class _Git(msgspec.Struct):
    commit: str | None = None
    dirty: bool | None = None


class _Environment(msgspec.Struct):
    git: _Git | None = None


class _Volatile(msgspec.Struct):
    begun: str = ""


class _Head(msgspec.Struct):
    """The parts of a result.json that a list needs."""

    suite: _Named
    environment: _Environment
    volatile: _Volatile = msgspec.field(default_factory=_Volatile)


def entries(results: Path, damaged: list[Path] | None = None) -> list[StoredResult]:
    """Every result of the folder, references too, oldest first. Bad ones go to `damaged`."""
    found = []
    for path in _files(results):
        try:
            found.append(_entry(path))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if damaged is not None:
                damaged.append(path)
    return sorted(found, key=lambda entry: (entry.begun, str(entry.path)))


def _files(results: Path) -> Iterator[Path]:
    """The result files; not through links, so that `latest` is not a second result."""
    for pattern in ("*/result.json", "reference/*/result.json"):
        for path in sorted(results.glob(pattern)):
            if not path.parent.is_symlink():
                yield path


def _entry(path: Path) -> StoredResult:
    head = msgspec.json.decode(path.read_bytes(), type=_Head)
    tree = head.environment.git or _Git()
    return StoredResult(
        path=path,
        begun=head.volatile.begun,
        commit=tree.commit or None,
        dirty=bool(tree.dirty),
        suite=head.suite.name,
    )


def pair(base: str, head: str, results: Path) -> tuple[tuple[str, Result], tuple[str, Result]]:
    """Load what two names mean: result folders, result.json files, or git revisions.

    Of several results of a revision the newest counts, preferring unchanged trees, and for base
    one that can be compared with head. Raises Problem.
    """
    two = _candidates(head, results)[-1]
    second = canonical.loads(two)
    others = [p for p in _candidates(base, results) if p.resolve() != two.resolve()]
    one, first = _comparable(others or [two], second)
    return (_name(base, one), first), (_name(head, two), second)


def _comparable(paths: list[Path], wanted: Result) -> tuple[Path, Result]:
    """Load the last of the results that can be compared with this one; if none can, the last."""
    key = facts.same_experiment(wanted)
    loaded = ((path, canonical.loads(path)) for path in reversed(paths))
    newest = next(loaded)
    if facts.same_experiment(newest[1]) == key:
        return newest
    return next((pair for pair in loaded if facts.same_experiment(pair[1]) == key), newest)


def load(name: str, results: Path) -> Result:
    """Load what one name means. Raises Problem."""
    return canonical.loads(_candidates(name, results)[-1])


def _name(name: str, path: Path) -> str:
    return name if Path(name) in (path, path.parent) else f"{name} ({path.parent})"


def _candidates(name: str, results: Path) -> list[Path]:
    """The result files a name may mean, the best one last."""
    for path in (Path(name), Path(name) / "result.json"):
        if path.is_file():
            return [path]
    commit, reason = git.revision(name, Path.cwd())
    known = entries(results)
    if commit is None:  # not a revision of this repository, but perhaps of the results
        matching = [e for e in known if re.fullmatch("[0-9a-f]{7,40}", name) and e.commit]
        matching = [e for e in matching if (e.commit or "").startswith(name)]
    else:
        matching = [e for e in known if e.commit == commit]
    if not matching:
        what = (
            f"{name} is {commit[:10]}, of which" if commit else f"{name}: no result ({reason}), and"
        )
        raise Problem(f"{what} there is no result in {results}: run it, or name a result folder")
    return [e.path for e in sorted(matching, key=lambda e: (not e.dirty, e.begun))]
