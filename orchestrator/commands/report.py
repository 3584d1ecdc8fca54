"""`pagedbench report`: make a results folder's numbers and pages anew, from its traces alone."""

from pathlib import Path

import click
from rich.console import Console

from orchestrator.store import Folder
from report import build, canonical, pages, table, watched
from traces.errors import Problem


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Make the report of a results folder anew, from its traces."""
    if not folder.is_dir():
        raise Problem(f"{folder}: no such results folder")
    if (folder / watched.ABOUT).is_file():  # left by `pagedbench monitor`
        click.echo(watched.text(watched.write(folder)), nl=False)
        return
    result = build.build(folder)
    Folder(folder).write("result.json", canonical.dumps(result))
    written = pages.write(folder, result)
    table.render(result, Console())
    click.echo(f"\nWritten: {', '.join(str(path) for path in written)}")
