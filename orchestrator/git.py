"""Ask git about the repository of a folder, and keep its own words where it cannot say.

In a hook, git's environment names the repository that the hook runs for; what is asked here is of
the folder alone, and a checkout's run must not record the commit of another tree.
"""

import os
import re
import subprocess
from pathlib import Path

from msgspec import Struct

TIMEOUT_S = 30.0
LOCAL = (  # `git rev-parse --local-env-vars`
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
)  # fmt: skip


class Commit(Struct, frozen=True):
    """The commit checked out, and whether its files were changed (None where nobody can tell)."""

    commit: str
    dirty: bool | None


def environment() -> dict[str, str]:
    """Return ours without what ties git to one repository."""
    return {name: value for name, value in os.environ.items() if name not in LOCAL}


def ask(folder: Path, *arguments: str) -> tuple[str, str]:
    """Return what git says, and "" or the reason why it says nothing."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment(), capture_output=True,
            stdin=subprocess.DEVNULL, text=True, errors="replace", timeout=TIMEOUT_S,
        )  # fmt: skip
    except OSError as error:
        return "", f"git: {error.strerror}"
    except subprocess.TimeoutExpired:
        return "", f"git: no answer in {TIMEOUT_S:g} s"
    said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    return (done.stdout.strip(), "") if done.returncode == 0 else ("", f"git: {said}")


def revision(name: str, folder: Path) -> tuple[str | None, str]:
    """Return the full commit id of a revision, or None and the reason."""
    if name.startswith("-"):
        return None, "git: no revision begins with -"
    found, reason = ask(folder, "rev-parse", "--verify", f"{name}^{{commit}}")
    if re.fullmatch("[0-9a-f]{40,64}", found):
        return found, ""
    if ask(folder, "rev-parse", "--is-shallow-repository")[0] == "true":
        reason += ", in a shallow clone: `git fetch --unshallow` gets the rest"
    return None, reason


def state(folder: Path) -> Commit | None:
    """Return the commit checked out in `folder` and whether it was changed; None outside git.

    Where the code came without its .git (a container), PAGEDBENCH_COMMIT may name the commit.
    """
    commit, _ = ask(folder, "rev-parse", "HEAD")
    if not commit:
        given = os.environ.get("PAGEDBENCH_COMMIT")
        return Commit(given, None) if given else None
    return Commit(commit, bool(ask(folder, "status", "--porcelain", "-uno")[0]))
