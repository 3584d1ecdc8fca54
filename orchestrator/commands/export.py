"""`pagedbench export`: write a result for other programs to read."""

import sys
from pathlib import Path

import click

from compare.metrics import Better
from measure.result import Result
from orchestrator import history
from report.export import as_csv, bmf, github, openmetrics, parquet
from traces.errors import Problem

RENDER = {
    "csv": as_csv.render,
    "parquet": parquet.render,
    "bmf": bmf.render,
    "openmetrics": openmetrics.render,
}
FORMATS = (*RENDER, "github-action-benchmark")


@click.command(name="export")
@click.argument("result")
@click.option("--format", "form", type=click.Choice(FORMATS), required=True)
@click.option("--better", type=click.Choice(("higher", "lower")), default="lower",
              show_default=True, help="github-action-benchmark: which metrics.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="A new file; otherwise stdout.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="Where results of revisions are looked up.")  # fmt: skip
def command(result: str, form: str, better: Better, out: Path | None, results: Path) -> None:
    """Write RESULT (a folder, a result.json, or a git revision) in another format."""
    data = _render(history.load(result, results), form, better)
    if out is None:
        sys.stdout.buffer.write(data)
        return
    try:
        with out.open("xb") as stream:
            stream.write(data)
    except FileExistsError:
        raise Problem(f"{out}: exists already: name another") from None
    except OSError as error:
        raise Problem(f"{out}: cannot be written ({error.strerror})") from None


def _render(result: Result, form: str, better: Better) -> bytes:
    if form == "github-action-benchmark":
        return github.render(result, better)
    return RENDER[form](result)
