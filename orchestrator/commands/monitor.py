"""`pagedbench monitor`: run any command under the sampler, or watch a process, or the GPUs.

pagedbench monitor -- python serve.py
pagedbench monitor --pid 4242 --interval 1ms --duration 60s
pagedbench monitor --gpu 0 --json | jq .used
"""

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import click
from rich.console import Console

from measure.watched import ABOUT, TRACE, WatchNote
from orchestrator.liveview import Nothing, Records, Screen, View
from orchestrator.monitoring import Watched, WatchRequest, in_status, watch
from orchestrator.store import LOG, Folder
from report import watched as numbers
from traces import duration
from traces.errors import Broken, Problem


@click.command(name="monitor", context_settings={"allow_interspersed_args": False})
@click.option("--pid", type=click.IntRange(1), help="Watch this process and its descendants.")
@click.option("--gpu", "gpus", multiple=True, help="Watch this GPU, by index or UUID (repeatable).")
@click.option("--interval", default="10ms", show_default=True, help="Time between memory readings.")
@click.option("--duration", "how_long", help="Stop after this long, as 60s; a command is ended.")
@click.option("--live/--no-live", default=None, help="Show memory while it runs; a command's output"
              " then goes to command.log. Without a command this is the default.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Write the trace's records to stdout as they "
              "come; a command's output goes to stderr.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="The new folder to write.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("results"),
              show_default=True, help="Where it goes when --out is not given.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="Print no summary.")
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def command(
    argv: tuple[str, ...], pid: int | None, gpus: tuple[str, ...], interval: str,
    how_long: str | None, live: bool | None, as_json: bool, out: Path | None, results: Path,
    quiet: bool,
) -> int:  # fmt: skip
    """Watch the memory of any command, process or GPU.

    Leaves a folder with the trace (samples.jsonl), summary.json, summary.md and timeline.svg.
    Exits as the command does; 124 when --duration ended it.
    """
    _check(argv, pid)
    interval_s = _interval(interval)
    duration_s = duration.parse(how_long) if how_long else None
    folder = _create(out, results)
    console = Console(stderr=True)
    if live is None:
        live = not (argv or as_json or quiet) and console.is_terminal
    view: View = Records(folder / TRACE, sys.stdout.buffer) if as_json else (
        Screen(console, interval_s) if live else Nothing()
    )  # fmt: skip
    request = WatchRequest(
        command=argv,
        pid=pid,
        gpus=gpus or None,
        interval_s=interval_s,
        duration_s=duration_s,
        **(_output(folder, live, as_json) if argv else {}),
    )
    _note(folder, request, Watched())
    try:
        with view:
            seen = watch(request, folder, view.show)
    except Problem as problem:
        if not isinstance(problem, Broken):
            Folder(folder).discard()
        raise
    if seen.trouble:
        click.echo(f"pagedbench: {seen.trouble}", err=True)
    try:
        _note(folder, request, seen)
        found = numbers.write(folder)
    except (Problem, OSError) as problem:
        if not seen.code:
            raise
        click.echo(f"pagedbench: no summary: {problem}", err=True)
        return seen.code
    if not quiet:
        _tell(console, folder, numbers.rows(found))
    return seen.code


def _check(argv: tuple[str, ...], pid: int | None) -> None:
    if argv and pid:
        raise Problem("--pid and a command: give one of them")
    if argv and shutil.which(argv[0]) is None:
        raise Problem(f"no command {argv[0]!r} here")
    if pid:
        _check_process(pid)


def _interval(text: str) -> float:
    seconds = duration.parse(text)
    if not duration.FASTEST_S <= seconds <= duration.SLOWEST_S:
        raise Problem(f"--interval {text}: must lie between 1 ms and 1 h")
    return seconds


def _check_process(pid: int) -> None:
    try:
        process = in_status(pid, "Tgid")
    except OSError:
        raise Problem(f"no process {pid} here") from None
    if process != str(pid):
        raise Problem(f"{pid} is a thread: give its process, --pid {process}")


def _create(out: Path | None, results: Path) -> Path:
    path = out or results / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-monitor"
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise Problem(f"{path}: exists already: name another with --out") from None
    except OSError as error:
        raise Problem(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _output(folder: Path, live: bool, as_json: bool) -> dict[str, IO[bytes]]:
    """Keep a command's output off what we print on."""
    if as_json:
        return {"stdout": sys.stderr.buffer}
    if live:
        log = (folder / LOG).open("wb")
        return {"stdout": log, "stderr": log}
    return {}


def _note(folder: Path, request: WatchRequest, seen: Watched) -> None:
    """Write down what was asked and how it ended, which the trace does not tell."""
    note = WatchNote(
        command=list(request.command), pid=request.pid, interval_s=request.interval_s,
        exit_code=seen.exit_code, kernel=seen.kernel, no_devices=seen.no_devices,
        trouble=seen.trouble,
    )  # fmt: skip
    Folder(folder).write(ABOUT, note)


def _tell(console: Console, folder: Path, rows: list[tuple[str, str]]) -> None:
    for name, value in rows:
        console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)
    left = (LOG, TRACE, "summary.json", "summary.md", "timeline.svg")
    rest = ", ".join(name for name in left if (folder / name).exists())
    console.print(f"in {folder}{os.sep}: {rest}", highlight=False, markup=False, soft_wrap=True)
