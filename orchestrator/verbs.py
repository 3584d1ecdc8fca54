"""The command line: a table of verbs, each in its own module, loaded when it is called.

Nothing heavy is imported here, so `pagedbench --help` answers at once.
"""

import importlib

import click

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
