"""`pagedbench gate`: run two revisions against each other on this machine, and compare them."""

from pathlib import Path

import click

from compare import metrics
from compare.diff.outcome import Diff
from compare.diff.results import diff as compare
from orchestrator import gate, git, lock
from orchestrator.checkout import checkouts
from orchestrator.commands.diff import in_format, tolerances
from orchestrator.stopping import in_order
from orchestrator.store import Folder
from report.diff import junit, markdown
from traces import duration
from traces.errors import Problem


@click.command(name="gate", context_settings={"ignore_unknown_options": True})
@click.argument("base")
@click.argument("head")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--suite", default="seed", show_default=True, help="Suite name, or a .toml file.")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True,
              help="Fresh processes per backend and side.")  # fmt: skip
@click.option("--metric", "named", multiple=True, metavar="NAME", help="Judge only this one.")
@click.option("--tolerance", multiple=True, metavar="METRIC=SHARE", help="As ttft_mean=3%.")
@click.option("--vary", multiple=True, metavar="NAME", help="Gate although this differs.")
@click.option("--strict", is_flag=True, help="Exit 5 when anything was left open.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="Where the folder of this comparison goes.")  # fmt: skip
@click.option("--wait", default="", metavar="TIME", help="How long to wait for the machine.")
@click.option("--timeout", default="6h", show_default=True, help="For one run of one side.")
def command(
    base: str, head: str, arguments: tuple[str, ...], suite: str, rounds: int,
    named: tuple[str, ...], tolerance: tuple[str, ...], vary: tuple[str, ...], strict: bool,
    results: Path, wait: str, timeout: str,
) -> int:  # fmt: skip
    """Run revision HEAD against BASE here, interleaved, each in its own checkout, and compare.

    More arguments for both runs can follow after --. Exit codes as for diff. Both checkouts are
    removed afterwards; the results stay.
    """
    for name in named:
        metrics.get(name)
    limits = tolerances(tolerance)
    limit_s, wait_s = duration.parse(timeout), duration.parse(wait) if wait else 0.0
    commits = [_commit(name) for name in (base, head)]
    given = ["--suite", _absolute(suite), *arguments]
    with in_order(), lock.held(f"pagedbench gate {suite}", wait_s=wait_s, tell=_tell):
        folder = Folder.create(None, results.resolve(), "gate", commits[1]).path
        with checkouts(Path.cwd(), commits, folder, _tell) as sides:
            for name, side in zip(gate.SIDES, sides, strict=True):
                _tell(f"{name} {side.commit[:10]}: setting up")
                side.setup()
            _tell(f"{rounds} rounds of both, interleaved")
            one, two = gate.measure(sides, rounds, given, folder, limit_s)
    diff = compare(
        one, two, names=(f"{base}", f"{head}"), metrics=named, tolerances=limits, vary=vary,
        strict=strict,
    )  # fmt: skip
    _keep(diff, folder)
    click.echo(in_format(diff, "table", bool(named)), nl=False)
    _tell(f"both results are in {folder}")
    return diff.exit_code


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _commit(name: str) -> str:
    commit, reason = git.revision(name, Path.cwd())
    if commit is None:
        raise Problem(f"{name}: not a revision of the git repository here ({reason})")
    return commit


def _absolute(suite: str) -> str:
    """A suite's file must be the same one for both sides; a name is each side's own."""
    return str(Path(suite).resolve()) if suite.endswith(".toml") else suite


def _keep(diff: Diff, folder: Path) -> None:
    where = Folder(folder)
    where.write("diff.md", markdown.render(diff).encode())
    where.write("diff.xml", junit.render(diff).encode())
