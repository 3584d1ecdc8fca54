"""Other checkouts of this repository: made from a revision, set up, run in, and removed again.

Each has its own working tree and its own environment. They are kept in the user's cache folder,
so that an installer can link packages instead of copying them. What a killed process left behind
is removed by the next one.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator import log_file, supervise
from orchestrator.home import cache
from orchestrator.stopping import undisturbed
from traces.errors import INTERRUPTED, Problem

SETUP_TIMEOUT_S = 3600.0
GIT_TIMEOUT_S = 600.0


class Checkout:
    """A working tree with an environment of its own."""

    def __init__(self, path: Path, commit: str, log: Path) -> None:
        self.path = path
        self.commit = commit
        self.log = log

    def setup(self) -> None:
        """Make its environment. Raises Problem with the last line of the log."""
        _must(["make", "setup"], self.path, self.log, SETUP_TIMEOUT_S)

    def run(self, arguments: Sequence[str], out: Path, timeout_s: float) -> int:
        """Run its own `pagedbench run` into `out`; return the exit code."""
        program = str(self.path / ".venv" / "bin" / "pagedbench")
        return run(program, arguments, out, self.log, timeout_s, cwd=self.path)


def run(
    program: str, arguments: Sequence[str], out: Path, log: Path, timeout_s: float,
    cwd: Path | None = None,
) -> int:  # fmt: skip
    """Run `pagedbench run` into `out`; return its exit code.

    Raises Problem when there is no result afterwards, KeyboardInterrupt when it was interrupted.
    """
    argv = [program, "run", *arguments, "--quiet", "--out", str(out)]
    code = supervise.command(argv, cwd=cwd, log=log, timeout=timeout_s)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if not (out / "result.json").is_file():
        raise Problem(f"the run left no result (exit code {code}): {_last(log)}")
    return code


@contextmanager
def checkouts(
    repository: Path, commits: Sequence[str], logs: Path, tell: Callable[[str], None]
) -> Iterator[list[Checkout]]:
    """Check the commits out, each into a tree of its own; remove them all at the end.

    `tell` hears of the removal: tens of thousands of files can take a while.
    """
    home = cache() / "checkouts"
    _sweep(repository, home)
    folder = home / str(os.getpid())
    folder.mkdir(parents=True)
    try:
        found = []
        for number, commit in enumerate(commits):
            tree, log = folder / f"{number}-{commit[:10]}", logs / f"{number}-{commit[:10]}.log"
            _must(["git", "worktree", "add", "--detach", str(tree), commit], repository, log)
            found.append(Checkout(tree, commit, log))
        yield found
    finally:
        with undisturbed():
            tell("removing the checkouts")
            _remove(repository, folder)


def _remove(repository: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    argv = ["git", "worktree", "prune"]
    supervise.command(argv, cwd=repository, log=Path(os.devnull), timeout=GIT_TIMEOUT_S)


def _sweep(repository: Path, home: Path) -> None:
    """Remove what processes that are gone did not."""
    for folder in home.glob("[0-9]*"):
        if not Path("/proc", folder.name).exists():
            _remove(repository, folder)


def _must(argv: Sequence[str], cwd: Path, log: Path, timeout_s: float = GIT_TIMEOUT_S) -> None:
    code = supervise.command(argv, cwd=cwd, log=log, timeout=timeout_s)
    if code:
        raise Problem(f"`{' '.join(argv[:2])}` failed (exit code {code}): {_last(log)}; see {log}")


def _last(log: Path) -> str:
    lines = log_file.tail(log)
    return lines[-1] if lines else f"nothing in {log}"
