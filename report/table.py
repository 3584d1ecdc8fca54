"""The comparison in the terminal: a column per backend, a row per number, and how to read it."""

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compare.headline import headline
from compare.summary import Column, columns, memory_kind
from measure.result import Result
from report import words
from report.rows import rows
from traces import units

LABEL_WIDTH, COLUMN_WIDTH = 30, 16


def show(result: Result, console: Console) -> None:
    """Print the table, what failed, and the sentences."""
    found = columns(result)
    per_table = max(1, (console.width - LABEL_WIDTH) // COLUMN_WIDTH)
    for begin in range(0, len(found), per_table):
        console.print(_table(result, found[begin : begin + per_table], console.width))
    for column in found:
        _outcome(column, console)
    for line in [fact.text for fact in headline(result)] + words.sentences(result, found):
        console.print(Padding(Text(line), (0, 0, 0, 1)))


def _table(result: Result, found: list[Column], width: int) -> Table:
    what = "GPU memory" if memory_kind(result) == "device" else "host memory (PSS)"
    title = f"{result.model.name}, {result.dtype}, {result.workload.name}: {what}"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("", no_wrap=width >= LABEL_WIDTH + COLUMN_WIDTH)
    for column in found:
        table.add_column(
            Text(column.label), justify="right", overflow="fold", min_width=min(10, width // 3)
        )
    table.add_row("status", *(_status(column) for column in found))
    for number, row in enumerate(rows(found)):
        if row.first and number:
            table.add_row()
        table.add_row(row.title, *row.cells, style="bold" if row.name == "kv_efficiency" else None)
    if any(column.parity for column in found):
        verdicts = [column.parity.verdict if column.parity else units.DASH for column in found]
        table.add_row("same tokens", *verdicts)
    return table


def _status(column: Column) -> Text:
    good = column.ok == column.repeats
    return Text(words.status(column), style="green" if good else "bold red")


def _outcome(column: Column, console: Console) -> None:
    """What else must be known about a backend, and its last log lines when it failed."""
    tail = column.log_tail[-5:] if column.ok < column.repeats else []
    for line in words.notes(column) + [f"    {line}" for line in tail]:
        console.print(Padding(Text(line, style="yellow"), (0, 0, 0, 1)))
