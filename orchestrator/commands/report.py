"""`pagedbench report`: make a results folder's numbers and pages anew, from its traces alone."""

from pathlib import Path

import click
from rich.console import Console

from orchestrator.store import Folder
from report import build, canonical, pages, table
from traces.errors import Problem


@click.command(name="report")
@click.argument("folder", type=click.Path(path_type=Path))
def command(folder: Path) -> None:
    """Make the report of a results folder anew, from its traces."""
    if not folder.is_dir():
        raise Problem(f"{folder}: no such results folder")
    result = build.build(folder)
    Folder(folder).write("result.json", canonical.dumps(result))
    written = pages.write(folder, result)
    table.render(result, Console())
    click.echo(f"\nWritten: {', '.join(str(path) for path in written)}")
