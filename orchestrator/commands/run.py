"""`pagedbench run`: run a suite and compare the backends."""

import shlex
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from orchestrator import backends, estimate, git, lock, models, suite
from orchestrator.events import Estimated, Event, Known, Show
from orchestrator.progress import ProgressView
from orchestrator.run import SuiteRun, exit_code
from orchestrator.stopping import in_order
from orchestrator.store import Folder
from report import pages, table
from traces import duration
from traces.errors import Broken, Interrupted, Problem

RESULTS = Path("results")


@click.command(name="run")
@click.option("--suite", "name", help="Suite name, or a .toml file.  [default: seed]")
@click.option("--model", help="smollm2-135m, shape:NAME, a model folder, or a Hub id.")
@click.option("--backend", "only", multiple=True,
              help="Only these: the suite's by label, others by name (repeatable).")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to run.")
@click.option("--dtype", type=click.Choice(["auto", "bfloat16", "float16", "float32"]))
@click.option("--max-length", type=click.IntRange(2), metavar="TOKENS",
              help="The longest request an engine must be ready for.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 1000), help="Fresh processes per backend.")
@click.option("--interval", help="Time between memory samples, as 10ms.")
@click.option("--out", type=click.Path(path_type=Path), help="The new folder to write.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, show_default=True,
              help="Where new folders go when --out is not given.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), help="Go on with a folder's run.")
@click.option("--untested", is_flag=True, help="Run with engine versions nobody tested.")
@click.option("--trust-remote-code", is_flag=True, help="Let the model bring its own code.")
@click.option("--wait", default="", metavar="TIME", help="How long to wait for the machine.")
@click.option("--quiet", is_flag=True, help="Print the comparison only.")
def command(
    name: str | None, only: tuple[str, ...], out: Path | None, results: Path, resume: Path | None,
    untested: bool, wait: str, quiet: bool, **changes: Any,
) -> int:  # fmt: skip
    """Run a suite and compare the backends."""
    wait_s = duration.parse(wait) if wait else 0.0
    changes = {key: value for key, value in changes.items() if value not in (None, False)}
    if resume:
        if changes or only or out or name:
            raise Problem(
                "--resume goes on with a run as it was begun: leave the other options out"
            )
        folder = Folder.open(resume)
        chosen = _resumed(folder)
    else:
        chosen = _changed(suite.load(name or "seed"), only, changes)
    _check_installed(chosen, untested)
    models.resolve(chosen.model)
    on_cpu = chosen.device == "cpu" or "+cpu" in (backends.installed("torch") or "")
    gpus = () if on_cpu else None
    with in_order(), lock.held(f"pagedbench run {chosen.name}", gpus, wait_s, _tell):
        if not resume:
            found = git.state(Path.cwd())
            folder = Folder.create(out, results, chosen.name, found.commit if found else None)
        with ProgressView(Console(stderr=True), quiet) as progress:
            run = SuiteRun(chosen, folder, _estimating(progress, chosen, folder))
            try:
                result = run.execute()
            except KeyboardInterrupt:
                raise Interrupted(f"interrupted; {_go_on(folder)}") from None
            except Problem as problem:
                if not resume and not isinstance(problem, Broken):
                    folder.discard()
                raise
        pages.write(folder.path, result)
        table.show(result, Console())
    if not quiet:
        click.echo(
            f"\nEverything is in {folder.path}: report.html, report.md, result.json, traces."
        )
    if not result.complete:
        _tell(f"not completed; {_go_on(folder)}")
    return exit_code(result)


def _go_on(folder: Folder) -> str:
    return f"go on with: pagedbench run --resume {shlex.quote(str(folder.path))}"


def _tell(line: str) -> None:
    click.echo(f"pagedbench: {line}", err=True)


def _resumed(folder: Folder) -> suite.Suite:
    path = folder.path / "suite.json"
    try:
        return suite.parse(msgspec.json.decode(path.read_bytes()), str(path))
    except (OSError, msgspec.DecodeError) as error:
        raise Problem(f"{path}: cannot be read ({error})") from None


def _changed(chosen: suite.Suite, only: tuple[str, ...], changes: suite.Table) -> suite.Suite:
    """Apply the command line's changes to a suite; the result is checked as a whole again."""
    data = msgspec.to_builtins(chosen) | changes
    if only:
        titles = [entry["label"] or entry["name"] for entry in data["backend"]]
        for title in only:
            if title not in titles:
                backends.find(title, "--backend")
                data["backend"].append({"name": title})
                titles.append(title)
        kept = zip(titles, data["backend"], strict=True)
        data["backend"] = [entry for title, entry in kept if title in only]
    return suite.parse(data, "command line")


def _check_installed(chosen: suite.Suite, untested: bool) -> None:
    for entry in chosen.backend:
        missing = "" if entry.python else backends.find(entry.name, "").missing()
        if missing and not (untested and "not tested" in missing):
            remedy = "run `make setup`" if "not installed" in missing else "or pass --untested"
            raise Problem(f"backend {entry.name}: {missing}: {remedy}")


def _estimating(progress: ProgressView, chosen: suite.Suite, folder: Folder) -> Show:
    """Add the estimate, once the workload is known, to what the progress hears."""
    cells = [(e.title, e.name) for e in chosen.backend for _ in range(chosen.repeats)]

    def show(event: Event) -> None:
        progress(event)
        if isinstance(event, Known):
            total = estimate.seconds(
                cells, event.device, event.output_tokens, chosen, folder.path.parent
            )
            progress(Estimated(total))

    return show
