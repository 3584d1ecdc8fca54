"""`pagedbench nightly`: run a suite, compare it with the last nights, and keep house.

Made for a machine that nobody watches: it refuses to share it, writes the result before it judges,
asks a second run before it accuses, and ends with one line and an exit code.
"""

import sys
from pathlib import Path

import click

from compare import night
from compare.night import Night
from orchestrator import lock, nights, retention
from orchestrator.stopping import in_order
from report import night_text
from traces import duration
from traces.errors import INCOMPARABLE, INVALID, OK, REGRESSION

MOST = 5  # times the window: nights of other suites are among those that are looked at
CODES = {"regressed": REGRESSION, "incomparable": INCOMPARABLE, "invalid": INVALID}


@click.command(name="nightly", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--suite", default="seed", show_default=True, help="Suite name, or a .toml file.")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True,
              help="Fresh processes per backend.")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="Where the nights are kept.")  # fmt: skip
@click.option("--nights", "window", type=click.IntRange(5, 1000), default=night.NIGHTS,
              show_default=True, help="How many nights to compare with.")  # fmt: skip
@click.option("--keep", type=click.IntRange(1), default=60, show_default=True,
              help="Nights that keep their traces; older ones keep their numbers.")  # fmt: skip
@click.option("--wait", default="", metavar="TIME", help="How long to wait for the machine.")
@click.option("--timeout", default="6h", show_default=True, help="For one run of the suite.")
@click.option("--accept", is_flag=True, help="Run nothing: the last night is the new normal.")
@click.option("--pagedbench", "program", default="", metavar="PROGRAM",
              help="Run the suite with this one, say of another checkout.")  # fmt: skip
def command(
    arguments: tuple[str, ...], suite: str, repeats: int, results: Path, window: int, keep: int,
    wait: str, timeout: str, accept: bool, program: str,
) -> int:  # fmt: skip
    """Run a suite, compare it with the last nights, and keep house.

    More arguments for the run can follow after --. Exits 1 on a regression that a second run
    confirmed, 3 when a backend did other work than every night before, 4 when there is nothing
    valid to judge.
    """
    if accept:
        click.echo(f"{nights.accept(results)}: accepted, compared with from now on")
        return OK
    limit_s, wait_s = duration.parse(timeout), duration.parse(wait) if wait else 0.0
    given = ["--repeats", str(repeats), *arguments]
    with in_order(), lock.held(f"pagedbench nightly {suite}", wait_s=wait_s, tell=_tell):
        folder, _ = nights.run(_program(program), given, results, suite, limit_s)
        past = nights.before(results, folder, MOST * window)
        judged = night.judge(nights.result(folder), past, window)
        judged.folder = str(folder)
        nights.save(folder, judged)
        if judged.found("regressed"):
            _confirm(judged, folder, _program(program), given, suite, limit_s)
            nights.save(folder, judged)
    for thinned in retention.thin(results, keep):
        _tell(f"{thinned}: traces removed, numbers kept")
    click.echo(night_text.line(judged))
    return CODES.get(judged.verdict, OK)


def _confirm(
    judged: Night, folder: Path, program: str, given: list[str], suite: str, limit_s: float
) -> None:
    """Run a second time and keep what it confirms."""
    names = {f"{finding.cell} {finding.title}" for finding in judged.found("regressed")}
    _tell(f"second run, to be sure of: {', '.join(sorted(names))}")
    nights.again(program, given, folder, suite, limit_s)
    night.confirm(judged, nights.result(folder / "confirm"))


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _program(named: str) -> str:
    """The pagedbench to run: the named one, or the one beside this interpreter."""
    return str(Path(named).resolve()) if named else str(Path(sys.executable).parent / "pagedbench")
