"""The way in: run the command line, and make of whatever comes one line and an exit code.

Here and nowhere else. Even `click` is imported within reach of this: a package that is broken, or
Ctrl-C while it loads, is told like everything else. Exit code 1 means a regression; an exception
that nobody foresaw is 2, and its trace is kept in a file.
"""

import os
import sys
from contextlib import suppress
from typing import Any

from traces.errors import FULL, INTERRUPTED, OK, USAGE, Problem

LONGEST = 1000  # characters of a line
BROKEN_PIPE = 141  # as a shell has it for SIGPIPE


def main() -> None:
    """Run the command line and exit with the code docs/exit-codes.md lists."""
    try:
        _open_streams()
        code = _run()
    except KeyboardInterrupt:
        code = _say("interrupted", INTERRUPTED)
    except Problem as problem:
        code = _say(str(problem), problem.exit_code)
    except BrokenPipeError:  # the reader of our output is gone, as in `pagedbench ... | head`
        code = BROKEN_PIPE
    except OSError as error:
        code = _system(error)
    except UnicodeEncodeError as error:
        code = _say(f"{error.object!r} is not UTF-8, and results are: rename it", USAGE)
    except (Exception, SystemExit) as error:  # our own faults: told here, and kept whole
        code = _unforeseen(error)
    _drain()
    sys.exit(code)


def _run() -> int:
    """Hand over to click; its own errors become ours."""
    import click

    from orchestrator.verbs import pagedbench

    try:
        code: Any = pagedbench.main(standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        said = error.format_message()
        if not said.startswith("Usage:"):
            raise Problem(" ".join(said.split())) from None
        click.echo(said, err=True)  # asked for nothing, and told what there is
        return USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else OK


def _open_streams() -> None:
    """Open what we were started without (`>&-`): else the next file would be stdout to children."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # a name that is not UTF-8, a terminal that is not
        sys.stdout.reconfigure(errors="backslashreplace")


def _say(line: str, code: int) -> int:
    if len(line) > LONGEST:  # a file's own text is in it
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    with suppress(OSError):  # nobody hears it: the code still tells
        print(f"pagedbench: {line}", file=sys.stderr)
    return code


def _system(error: OSError) -> int:
    if error.errno in FULL:
        return _say(f"{error.strerror}: free some space and try again", USAGE)
    if error.filename is None or error.strerror is None:
        return _unforeseen(error)
    return _say(f"{error.filename}: {error.strerror}", USAGE)


def _unforeseen(error: BaseException) -> int:
    import tempfile
    import traceback

    try:
        fd, kept = tempfile.mkstemp(prefix="pagedbench-", suffix=".trace")
        with open(fd, "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123
            traceback.print_exception(error, file=stream)
        where = f"the full trace is in {kept}"
    except OSError as refused:
        where = f"the full trace could not be kept ({refused.strerror})"
    first = (str(error).strip().splitlines() or [""])[0][:300]
    return _say(f"a fault of pagedbench: {type(error).__name__}: {first}; {where}", USAGE)


def _drain() -> None:
    """Drop what cannot be written: Python would try again at the end, and change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
