"""`pagedbench trend`: all results of a folder over time, as a page or as data."""

import os
from pathlib import Path
from urllib.parse import quote

import click
import msgspec

from compare import metrics
from compare.trend.collect import Collector
from compare.trend.outcome import Trend
from measure import canonical
from orchestrator import history
from report.trend import page
from traces.errors import Problem

PAGE = "trend.html"


@click.command(name="trend")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="The folder of results.")  # fmt: skip
@click.option("--metric", "named", multiple=True, metavar="NAME",
              help="These metrics (repeatable), not the ones that gate.")  # fmt: skip
@click.option("--suite", help="Only results of this suite.")
@click.option("--json", "as_json", is_flag=True, help="Print the data; write no page.")
@click.option("--out", type=click.Path(path_type=Path),
              help=f"The page to write.  [default: {PAGE} in the results folder]")  # fmt: skip
def command(
    results: Path, named: tuple[str, ...], suite: str | None, as_json: bool, out: Path | None
) -> None:
    """Show all results over time: every metric by date and commit, and where something moved."""
    for name in named:
        metrics.get(name)
    if not results.is_dir():
        raise Problem(f"{results}: no such folder: run something first, or name it with --results")
    found = collect(results, named, suite, (out or results / PAGE).parent)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
        return
    path = out or results / PAGE
    try:
        path.write_text(page.render(found), encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path}: cannot be written ({error.strerror})") from None
    click.echo(f"{path}: {_said(found)}")


def collect(results: Path, named: tuple[str, ...], suite: str | None, base: Path) -> Trend:
    """Read every result, oldest first; links are relative to `base`, where the page will be."""
    damaged: list[Path] = []
    collector = Collector(named)
    for entry in history.entries(results, damaged):
        if suite is None or entry.suite == suite:
            try:
                collector.add(canonical.loads(entry.path), _link(entry.path.parent, base))
            except Problem:
                damaged.append(entry.path)
    return collector.trend(str(path.parent.name) for path in damaged)


def _link(folder: Path, base: Path) -> str:
    """Where a click leads: the report, or the folder where there is none."""
    target = folder / "report.html" if (folder / "report.html").is_file() else folder
    return quote(os.path.relpath(target.resolve(), base.resolve()))


def _said(found: Trend) -> str:
    runs = sum(len(group.runs) for group in found.groups)
    steps = sum(len(series.steps) for group in found.groups for series in group.series)
    bad = f", {len(found.damaged)} could not be read" if found.damaged else ""
    return f"{runs} runs in {len(found.groups)} experiments, {steps} steps{bad}"
