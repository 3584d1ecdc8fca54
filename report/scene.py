"""What the page's scripts draw: every cell's numbers and reduced lines, and the requests.

Bounded, whatever the length of the run: lines are reduced, prompts cut to their beginning.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from compare import metrics, stats, summary
from measure.build import Run
from measure.result import Cell, Result
from report import words
from report.picture import picture


@dataclass(frozen=True, slots=True)
class Entry:
    """One result to show, with its traces where they are there. Two entries are overlaid."""

    result: Result
    run: Run | None = None
    name: str = ""


def of(entries: list[Entry]) -> Any:
    """Everything drawn, as builtins that are JSON."""
    labels = list(dict.fromkeys(cell.label for entry in entries for cell in entry.result.cells))
    cells = []
    for number, entry in enumerate(entries):
        for column in summary.columns(entry.result):
            label = f"{entry.name}: {column.label}" if len(entries) > 1 else column.label
            look = {"color": labels.index(column.label), "dash": "dot" if number else "solid"}
            cells.append({"label": label, **look, **_cell(entry, column)})
    return _finite({"cells": cells, "requests": _requests(entries)})


def _cell(entry: Entry, column: summary.Column) -> dict[str, Any]:
    cell = column.first
    same = [c for c in entry.result.cells if c.label == cell.label]
    speeds = metrics.values(metrics.get("output_tokens_per_s"), same)
    return {
        "backend": cell.backend,
        "status": cell.status,
        "layout": column.layout,
        "kind": words.KIND.get(column.layout or ""),
        "timing": _builtins(cell.timing),
        "throughput": _builtins(stats.summarize(speeds)) | {"values": speeds} if speeds else None,
        "kv": _builtins(cell.kv),
        "ledger": _builtins(cell.ledger),
        "rows": [
            {
                "id": row.id, "arrive": row.arrive, "start": row.start, "first": row.first,
                "last": row.last, "output": row.output_tokens,
            }
            for row in cell.rows
        ],
        "picture": _picture(entry, cell),
    }  # fmt: skip


def _picture(entry: Entry, cell: Cell) -> dict[str, Any] | None:
    found = entry.run.find(cell.label, cell.repeat) if entry.run else None
    if entry.run is None or found is None or not found.traces:
        return None
    return picture(entry.run.timeline(found))


def _requests(entries: list[Entry]) -> list[dict[str, Any]]:
    """The requests with the beginning of their prompts."""
    run = next((entry.run for entry in entries if entry.run), None)
    shown = []
    for request in run.requests if run else []:
        text = request.text
        length = len(text or "")
        shown.append(
            {
                "id": request.id,
                "text": text[: words.LONGEST] if text is not None else None,
                "cut": length if length > words.LONGEST else 0,
                "prompt_tokens": len(request.prompt_ids),
                "output_tokens": request.output_tokens,
            }
        )
    return shown


def _builtins(found: msgspec.Struct | None) -> Any:
    return None if found is None else msgspec.to_builtins(found)


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON: they become null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
