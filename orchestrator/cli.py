"""The command line: a table of verbs, each in its own module, loaded when it is called.

Nothing heavy is imported here, so `pagedbench --help` answers at once. Every `Problem` becomes
one line on stderr and its exit code, here and nowhere else.
"""

import importlib
import os
import sys
from typing import Any

import click

from traces.errors import FULL, INTERRUPTED, USAGE, Problem

VERBS = {
    "run": "Run a suite and compare the backends.",
    "report": "Make the report of a results folder anew, from its traces.",
    "monitor": "Watch the memory of any command, process or GPU.",
    "doctor": "Say what this machine can run and what is missing.",
    "diff": "Say what changed from one result to another; exit 1 if it got worse.",
    "gate": "Run two revisions against each other on this machine, and compare them.",
    "nightly": "Run a suite, compare it with the last nights, and keep house.",
    "trend": "Show all results over time, and where something moved.",
    "export": "Write a result for other programs to read.",
}


class Verbs(click.Group):
    """A group whose commands live in orchestrator.commands.VERB as `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"orchestrator.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pagedbench", prog_name="pagedbench")
def pagedbench() -> None:
    """Where the memory of LLM inference goes, and what PagedAttention changes: measured."""


def main() -> None:
    """Run the command line and exit with the code docs/exit-codes.md lists."""
    try:
        code: Any = pagedbench.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        said = error.format_message()
        page = said.startswith("Usage:")  # asked for nothing, and told what there is
        click.echo(said if page else f"pagedbench: {' '.join(said.split())}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("pagedbench: interrupted", err=True)
        code = INTERRUPTED
    except Problem as problem:
        click.echo(f"pagedbench: {problem}", err=True)
        code = problem.exit_code
    except BrokenPipeError:  # the reader of our output is gone, as in `pagedbench ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        if error.errno in FULL:
            click.echo(f"pagedbench: {error.strerror}: free some space and try again", err=True)
        elif error.filename is not None:
            click.echo(f"pagedbench: {error.filename}: {error.strerror}", err=True)
        else:
            raise
        code = USAGE
    sys.exit(code if isinstance(code, int) else 0)
