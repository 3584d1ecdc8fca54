"""The comparison in the terminal: a column per backend, a row per number, and how to read it."""

from collections.abc import Callable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from compare.compare import headline
from compare.summary import Column, columns, memory_kind
from measure.result import Result
from report import words

Write = Callable[[float | None], str]
LABEL_WIDTH, COLUMN_WIDTH = 30, 16

ROWS: list[tuple[str, str, Write]] = [
    ("memory after import", "after_import", words.size),
    ("memory after load", "after_load", words.size),
    ("memory peak in the run", "peak", words.size),
    ("memory after", "after", words.size),
    ("", "", words.count),
    ("requests", "requests_run", words.count),
    ("output tokens", "output_tokens", words.count),
    ("mean time of a request", "request_mean", words.seconds),
    ("total time", "wall", words.seconds),
    ("time to first token, mean", "ttft_mean", words.seconds),
    ("time to first token, p90", "ttft_p90", words.seconds),
    ("time to first token, p99", "ttft_p99", words.seconds),
    ("time per output token, mean", "tpot_mean", words.seconds),
    ("throughput", "output_tokens_per_s", words.rate),
    ("speed-up over hf-sequential", "speed_up", words.ratio),
    ("energy per token", "joules_per_token", lambda v: words.DASH if v is None else f"{v:.3g} J"),
    ("", "", words.count),
    ("requests in flight, most", "peak_running", words.count),
    ("requests in flight, mean", "mean_running", words.count),
    ("preemptions", "preempted", words.count),
    ("KV held, mean tokens", "mean_reserved", words.count),
    ("KV used, mean tokens", "mean_live", words.count),
    ("KV held, mean", "mean_reserved_bytes", words.size),
    ("KV used, mean", "mean_live_bytes", words.size),
    ("KV taken from the machine", "pool_bytes", words.size),
    ("memory efficiency", "efficiency", words.share),
]


def render(result: Result, console: Console) -> None:
    """Print the table, what failed, and the sentences."""
    found = columns(result)
    per_table = max(1, (console.width - LABEL_WIDTH) // COLUMN_WIDTH)
    for begin in range(0, len(found), per_table):
        console.print(_table(result, found[begin : begin + per_table]))
    for column in found:
        _outcome(column, console)
    for line in [fact.text for fact in headline(result)] + words.sentences(result, found):
        console.print(Padding(Text(line), (0, 0, 0, 1)))


def _table(result: Result, found: list[Column]) -> Table:
    what = "GPU memory" if memory_kind(result) == "device" else "host memory (PSS)"
    title = f"{result.model.name}, {result.dtype}, {result.workload.name}: {what}"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    for column in found:
        table.add_column(Text(column.label), justify="right", overflow="fold")
    table.add_row("status", *(_status(column) for column in found))
    for title, name, write in ROWS:
        cells = [write(column.values.get(name)) for column in found] if name else []
        if not name or any(cell != words.DASH for cell in cells):
            table.add_row(title, *cells, style="bold" if name == "efficiency" else None)
    if any(column.parity for column in found):
        verdicts = [column.parity.verdict if column.parity else words.DASH for column in found]
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
