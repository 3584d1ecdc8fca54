"""`pagedbench report`: make a results folder's numbers and pages anew, from its traces alone."""

from pathlib import Path

import click
from rich.console import Console

from orchestrator.store import Folder
from report import build, canonical, pages, perfetto, table, watched
from traces.errors import Problem


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--perfetto", "timeline", is_flag=True,
              help="Also write trace.json.gz, which opens in ui.perfetto.dev.")  # fmt: skip
def command(folder: Path, timeline: bool) -> None:
    """Make the report of a results folder anew, from its traces."""
    if not folder.is_dir():
        raise Problem(f"{folder}: no such results folder")
    if (folder / watched.ABOUT).is_file():  # left by `pagedbench monitor`
        click.echo(watched.text(watched.write(folder)), nl=False)
        return
    run = build.Run(folder)
    result = build.build(folder, run=run)
    Folder(folder).write("result.json", canonical.dumps(result))
    written = pages.write(folder, result, run)
    if timeline:
        written.append(perfetto.write(folder, run))
    table.render(result, Console())
    click.echo(f"\nWritten: {', '.join(str(path) for path in written)}")
