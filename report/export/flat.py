"""A result as one flat table: a row for each repeat of each cell, a column for each metric.

The columns are the same for every result, whatever it holds, so that tables of several results
can be put together. What a cell does not have stays empty.
"""

from collections.abc import Iterator

import msgspec

from compare.diff import facts
from compare.metrics import METRICS
from measure.result import Cell, Result

Value = str | float | bool | None

ABOUT = (
    "suite", "begun", "commit", "dirty", "model", "dtype", "device", "processor", "workload",
    "label", "backend", "options", "repeat", "status", "requests_run", "output_tokens",
)  # fmt: skip
COLUMNS = (*ABOUT, *(metric.name for metric in METRICS))


def rows(result: Result) -> Iterator[dict[str, Value]]:
    """Every repeat of every cell; the keys are COLUMNS, in that order."""
    common = about(result)
    for cell in result.runs:
        yield {**common, **_cell(cell), **{m.name: m.read(cell) for m in METRICS}}


def about(result: Result) -> dict[str, Value]:
    """What all cells share."""
    return {
        "suite": _text(result.suite.get("name")),
        "begun": _text(result.volatile.get("begun")),
        "commit": _text(facts.part(result, "git", "commit")),
        "dirty": facts.part(result, "git", "dirty") is True,
        "model": result.model.name,
        "dtype": result.dtype,
        "device": result.device,
        "processor": facts.processor(result),
        "workload": result.workload.name,
    }


def _text(value: object) -> str | None:
    """Free-form parts of a result may hold anything; columns have one type."""
    return None if value is None else str(value)


def _cell(cell: Cell) -> dict[str, Value]:
    return {
        "label": cell.label,
        "backend": cell.backend,
        "options": msgspec.json.encode(cell.options, order="sorted").decode(),
        "repeat": cell.repeat,
        "status": cell.status,
        "requests_run": cell.requests_run,
        "output_tokens": cell.output_tokens,
    }
