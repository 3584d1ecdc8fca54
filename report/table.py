"""The comparison in the terminal: a column per backend, a row per number, six sentences at most.

What is the same for all is one line. Four backends fit 80 columns. The rest is in report.md and on
the page.
"""

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compare.headline import headline
from compare.metrics import FULL_RATE, RUN_RATE
from compare.summary import Column, columns, memory_kind
from measure.result import Result
from report import brief, words
from report.rows import TableRow, rows
from traces import units

LABEL_WIDTH, COLUMN_WIDTH = 28, 13
PAGE_ONLY = (
    "after_import", "after", "request_mean", "ttft_p90", "ttft_p99", "itl_p50", "itl_p99",
    "full_load_itl_p50", "full_load_itl_p99", "mean_running", "kv_mean_reserved", "kv_mean_live",
)  # fmt: skip


def show(result: Result, console: Console) -> None:
    """Print the table, what is the same for all, the last lines of what failed, the sentences."""
    found = columns(result)
    every = _rows(found)
    same = [row for row in every if len(found) > 1 and len(set(row.cells)) == 1]
    per_table = max(1, (console.width - LABEL_WIDTH) // COLUMN_WIDTH)
    for begin in range(0, len(found), per_table):
        shown = slice(begin, begin + per_table)
        console.print(_table(result, found, every, shown, console.width))
    if same:
        alike = ", ".join(f"{row.title} {row.cells[0]}" for row in same)
        _say(console, f"The same for all: {alike}.")
    for column in found:
        for line in column.log_tail[-5:] if column.ok < column.repeats else []:
            _say(console, f"{column.label}:     {line}", "yellow")
    for sentence in brief.sentences(result, found, headline(result)):
        _say(console, sentence)


def _rows(found: list[Column]) -> list[TableRow]:
    """The outcomes around the numbers; of the two rates the one that speed-ups are of."""
    other = RUN_RATE if found and found[0].rate == FULL_RATE else FULL_RATE
    status = TableRow(name="status", title="status", cells=[words.status(c) for c in found])
    verdicts = [column.parity.verdict if column.parity else units.DASH for column in found]
    parity = TableRow(name="parity", title="same tokens", cells=verdicts)
    judged = any(column.parity for column in found)
    return [status, *rows(found, (*PAGE_ONLY, other)), *([parity] if judged else [])]


def _table(
    result: Result, found: list[Column], every: list[TableRow], shown: slice, width: int
) -> Table:
    what = "GPU memory" if memory_kind(result) == "device" else "host memory (PSS)"
    title = f"{result.model.name}, {result.dtype}, {result.workload.name}: {what}"
    table = Table(
        title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold",
        padding=0,
    )  # fmt: skip
    table.add_column("", no_wrap=width >= LABEL_WIDTH + COLUMN_WIDTH)
    for column in found[shown]:
        table.add_column(
            Text(_heading(column)), justify="right", overflow="fold", min_width=min(10, width // 3)
        )
    apart = False
    for row in every:
        apart |= row.first
        if len(found) > 1 and len(set(row.cells)) == 1:
            continue
        if apart and table.row_count:
            table.add_row()
        apart = False
        style = "bold" if row.name == "kv_efficiency" else None
        table.add_row(row.title, *_texts(row, found)[shown], style=style)
    return table


def _heading(column: Column) -> str:
    """The backend's name, a long one on two lines: `vllm-` and `reserve-max`."""
    name = words.heading(column)
    at = name.find("-") + 1 if len(name) > COLUMN_WIDTH + 1 else 0
    return f"{name[:at]}\n{name[at:]}" if at else name


def _texts(row: TableRow, found: list[Column]) -> list[Text]:
    """The cells; an outcome in its colour."""
    if row.name != "status":
        return [Text(cell) for cell in row.cells]
    return [
        Text(cell, style="green" if column.ok == column.repeats else "bold red")
        for cell, column in zip(row.cells, found, strict=True)
    ]


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Padding(Text(line, style=style), (0, 0, 0, 1)))
