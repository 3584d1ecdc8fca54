"""`pagedbench report`: make a results folder's numbers and pages anew, from its traces alone."""

from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from measure import build, canonical
from measure.load import sample_files
from measure.result import Cell
from measure.watched import ABOUT
from orchestrator.store import Folder
from report import pages, perfetto, table, watched
from traces.errors import INVALID, OK, Problem
from traces.reader import kept


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--perfetto", "timeline", is_flag=True,
              help="Also write trace.json.gz, which opens in ui.perfetto.dev.")  # fmt: skip
def command(folder: Path, timeline: bool) -> int:
    """Make the report of a results folder anew, from its traces."""
    if not folder.is_dir():
        raise Problem(f"{folder}: no such results folder")
    if (folder / ABOUT).is_file():  # left by `pagedbench monitor`
        click.echo(watched.text(watched.write(folder)), nl=False)
        return OK
    _check_traces(folder)
    run = build.Run(folder)
    result = build.build(folder, run=run)
    Folder(folder).write("result.json", canonical.dumps(result))
    written = pages.write(folder, result, run)
    if timeline:
        written.append(perfetto.write(folder, run))
    table.show(result, Console())
    click.echo(f"\nWritten: {', '.join(str(path) for path in written)}")
    return INVALID if any(cell.status == "invalid" for cell in result.cells) else OK


def _check_traces(folder: Path) -> None:
    """Refuse to make numbers anew from traces that are gone: those that there are would be lost."""
    cells = Folder(folder).cells()
    known = {f"{cell.label}.r{cell.repeat}" for cell in _stored(folder)}
    for name in sorted(known - set(cells)):
        raise Problem(f"{folder}: no traces of {name} any more: its result.json is left as it is")
    for name, about in cells.items():
        trace = folder / "cells" / about.folder / "worker.jsonl"
        if about.status == "ok" and not kept(trace).is_file():
            raise Problem(f"{trace}: gone: the numbers of {name} cannot be made anew")
    if any(about.status == "ok" for about in cells.values()) and not sample_files(folder):
        raise Problem(f"{folder}: samples.jsonl is gone: memory cannot be made anew")


def _stored(folder: Path) -> list[Cell]:
    """The cells of the result that is there, if there is one that can be read."""
    with suppress(Problem):
        return canonical.loads(folder / "result.json").cells
    return []
