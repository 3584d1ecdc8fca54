"""`pagedbench diff`: what changed from one result to another, and whether that may pass."""

import sys
from pathlib import Path

import click

from compare import metrics
from compare.diff.outcome import Diff
from compare.diff.results import diff as compare
from orchestrator import history
from report.diff import as_json, junit, markdown, table
from traces.errors import Problem

FORMATS = ("table", "markdown", "json", "junit")


def tolerances(given: tuple[str, ...]) -> dict[str, float]:
    """Read `metric=3%` (or 0.03) into shares. Raises Problem.

    A bare number of 1 or more is refused: who writes 3 means 3 %, and 300 % would let all pass.
    """
    found = {}
    for text in given:
        name, sign, value = text.partition("=")
        try:
            share = float(value.removesuffix("%")) / (100 if value.endswith("%") else 1)
        except ValueError:
            share = -1.0
        most = 10 if value.endswith("%") else 1
        if not sign or not 0 <= share < most:
            meant = f"{value}%" if 1 <= share < 1000 else "3%"
            raise Problem(f"--tolerance {text}: write it as {name or 'metric'}={meant}")
        found[metrics.get(name.strip()).name] = share
    return found


@click.command(name="diff")
@click.argument("base")
@click.argument("head")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--metric", "named", multiple=True, metavar="NAME",
              help="Judge and show only this one (repeatable).")  # fmt: skip
@click.option("--tolerance", multiple=True, metavar="METRIC=SHARE",
              help="How much change of a metric is tolerated, as ttft_mean=3%.")  # fmt: skip
@click.option("--vary", multiple=True, metavar="NAME",
              help="Gate although this part of the environment differs, as torch.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Exit 5 when anything was left open.")
@click.option("--explain", is_flag=True, help="Say for each verdict how it came about.")
@click.option("--force", is_flag=True,
              help="Show what cannot be compared all the same; still exits 3.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path),
              help="Also draw both runs, from their traces, in this new page.")  # fmt: skip
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="Where results of revisions are looked up.")  # fmt: skip
def command(
    base: str, head: str, form: str, named: tuple[str, ...], tolerance: tuple[str, ...],
    vary: tuple[str, ...], strict: bool, explain: bool, force: bool, html: Path | None,
    results: Path,
) -> int:  # fmt: skip
    """Compare HEAD with BASE: result folders, result.json files, or git revisions.

    Exits 0 when nothing regressed, 1 when something did, 3 when the two cannot be compared, 4 when
    a run is not valid, and with --strict 5 when anything was left open.
    """
    for name in named:
        metrics.get(name)
    limits = tolerances(tolerance)
    (one, first), (two, second) = history.pair(base, head, results)
    diff = compare(
        first, second, names=(one, two), metrics=named, tolerances=limits, vary=vary,
        strict=strict, force=force,
    )  # fmt: skip
    click.echo(in_format(diff, form, bool(named), explain), nl=False)
    if html:
        _overlay(base, head, html)
    return diff.exit_code


def _overlay(base: str, head: str, out: Path) -> None:
    """Draw both runs in one page. Raises Problem when one is not a folder with its traces."""
    from report import pages  # with Plotly and NumPy: only for those who look at a picture

    for given in (base, head):
        if not Path(given, "cells").is_dir():
            raise Problem(f"--html: {given} is not a result folder with its traces")
    if out.exists():
        raise Problem(f"{out}: exists already: name another")
    pages.overlay(Path(base), Path(head), (base, head), out)


def in_format(diff: Diff, form: str, named: bool = False, explain: bool = False) -> str:
    """The diff in one of the formats."""
    if form == "markdown":
        return markdown.render(diff, named=named)
    if form == "json":
        return as_json.render(diff)
    if form == "junit":
        return junit.render(diff)
    colour = sys.stdout.isatty()
    return table.render(diff, named=named, explain=explain, colour=colour)
