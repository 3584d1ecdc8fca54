"""The nights in a results folder: run one, find those before it, write down what was judged.

A night is a result folder with a night.json. A file named `accepted` in it says that what it
shows is the new normal: nothing before it is compared with any more.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from compare.night import Before, Night
from measure import canonical
from measure.result import Result
from orchestrator import checkout, git, history
from orchestrator.store import Folder
from report import night_text
from traces.errors import Problem

ACCEPTED = "accepted"


def run(
    program: str, arguments: Sequence[str], results: Path, suite: str, timeout_s: float
) -> tuple[Path, int]:
    """Run the suite into a new folder; return it and the exit code. The log is in it too."""
    results.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    commit = (git.revision("HEAD", Path.cwd())[0] or "nogit")[:7]
    folder = _new(results, f"{stamp}-{commit}-{Path(suite).stem}")
    return folder, _into(folder, program, ["--suite", suite, *arguments], timeout_s)


def _new(results: Path, name: str) -> Path:
    """A folder that is not there yet."""
    names = (f"{name}.{number}" for number in range(2, 1000))
    return next(p for p in (results / name, *(results / n for n in names)) if not p.exists())


def again(
    program: str, arguments: Sequence[str], folder: Path, suite: str, timeout_s: float
) -> int:
    """Run it a second time, inside the night's folder, where no list of results looks."""
    return _into(folder / "confirm", program, ["--suite", suite, *arguments], timeout_s)


def _into(folder: Path, program: str, arguments: Sequence[str], timeout_s: float) -> int:
    log = folder.with_name(f".{folder.name}.log")
    code = checkout.run(program, arguments, folder, log, timeout_s)
    log.replace(folder / "nightly.log")
    return code


def before(results: Path, tonight: Path, most: int) -> list[Before]:
    """At most the last `most` nights since one was accepted, oldest first, without tonight's."""
    found: list[Before] = []
    for entry in reversed(history.entries(results)):
        folder = entry.path.parent
        if folder.resolve() == tonight.resolve() or not (folder / "night.json").is_file():
            continue
        try:
            found.append(_before(folder))
        except Problem:
            continue  # a damaged night teaches nothing
        if (folder / ACCEPTED).exists() or len(found) == most:
            break
    return found[::-1]


def _before(folder: Path) -> Before:
    judged = load(folder)
    accepted = (folder / ACCEPTED).exists()
    bad = () if accepted else judged.found("regressed")
    return Before(
        result=canonical.loads(folder / "result.json"),
        regressed=frozenset((finding.cell, finding.metric) for finding in bad),
    )


def load(folder: Path) -> Night:
    """Read a night's judgement. Raises Problem."""
    try:
        return msgspec.json.decode((folder / "night.json").read_bytes(), type=Night)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(f"{folder}: no judgement to be read ({error})") from None


def save(folder: Path, night: Night) -> None:
    """Write the judgement, as data and as a page."""
    Folder(folder).write("night.json", night)
    Folder(folder).write("night.md", night_text.page(night).encode())


def accept(results: Path) -> Path:
    """Mark the newest night as the new normal; return its folder. Raises Problem."""
    nights = [e.path.parent for e in history.entries(results)]
    nights = [folder for folder in nights if (folder / "night.json").is_file()]
    if not nights:
        raise Problem(f"{results}: no night to accept yet")
    (nights[-1] / ACCEPTED).touch()
    return nights[-1]


def result(folder: Path) -> Result:
    """The result of a night that was just run."""
    return canonical.loads(folder / "result.json")
