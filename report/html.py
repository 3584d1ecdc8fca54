"""report.html: one page that needs no network: data, style and plot library are inside it.

The plot library and the data are packed (gzip, base64) and unpacked by the browser, which keeps
the page far below the library's own size. Everything from outside is text: Jinja escapes what is
in the page, packing hides the data from the HTML parser, and the scripts only ever set text.
"""

import base64
import gzip
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from report import compare, metrics, stats, summary, words
from report.build import Run
from report.picture import picture
from report.result import Cell, Result
from report.table import ROWS

SCRIPTS = ("theme", "plots", "memory", "kv", "panel", "blocks", "speed", "requests", "main")
SECTIONS = (
    ("headline", "Headline"),
    ("comparison", "Side by side"),
    ("memory-section", "Memory"),
    ("ledger-section", "Ledger"),
    ("kv-section", "KV cache"),
    ("blocks-section", "Block map"),
    ("speed-section", "Speed"),
    ("requests-section", "Requests"),
    ("checks", "Checks"),
    ("environment", "Environment"),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One result to show, with its traces where they are there. Two entries are overlaid."""

    result: Result
    run: Run | None = None
    name: str = ""


def render(entries: list[Entry], docs: str | None = None) -> str:
    """The whole page. `docs` is where its links to the documentation lead, if anywhere."""
    first = entries[0].result
    title = f"{first.model.name}, {first.dtype}, {first.workload.name}"
    if len(entries) > 1:
        title = f"{entries[0].name} and {entries[1].name}: {title}"
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(_file("page.html.j2"))
    return page.render(
        title=title,
        about=_about(first),
        device=first.device,
        sections=SECTIONS,
        views=[_view(entry) for entry in entries],
        docs=docs,
        css=Markup(_file("page.css")),
        js=Markup("\n".join(_file(f"{name}.js") for name in SCRIPTS)),
        plotly=_plotly(),
        data=_pack(json.dumps(_data(entries), separators=(",", ":"), allow_nan=False).encode()),
    )


def _file(name: str) -> str:
    return (files("report.page") / name).read_text(encoding="utf-8")


def _pack(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _pack(get_plotlyjs().encode())


def _about(result: Result) -> str:
    load = result.workload
    said = (
        f"{load.requests} requests with {load.prompt_tokens:,} prompt tokens, "
        f"{load.output_tokens:,} output tokens asked for, on {_machine(result)}."
    )
    begun = result.volatile.get("begun")
    said += f" Begun {words.short(begun)}." if begun else ""
    return said if result.complete else f"{said} This run was not completed."


def _machine(result: Result) -> str:
    """The GPUs, or the CPU, by name."""
    named = [str(gpu.get("name")) for gpu in result.environment.get("gpus") or []]
    if result.device == "cuda" and named:
        return f"{len(named)} x {named[0]}" if len(named) > 1 else named[0]
    cpu = result.environment.get("cpu") or {}
    return f"{cpu.get('cores')} cores of {cpu.get('model')}" if cpu else result.device


def _view(entry: Entry) -> dict[str, Any]:
    """What the template shows of one result."""
    result, found = entry.result, summary.columns(entry.result)
    rows = [
        (title, [write(column.values.get(name)) for column in found])
        for title, name, write in ROWS
        if name and any(column.values.get(name) is not None for column in found)
    ]
    on_device = summary.memory_kind(result) == "device"
    return {
        "name": entry.name,
        "facts": [{"big": _big(fact), "text": fact.text} for fact in compare.headline(result)],
        "sentences": words.sentences(result, found),
        "memory": "memory is the GPU's" if on_device else "memory is the processes' (PSS)",
        "columns": [_column(column) for column in found],
        "rows": rows,
        "checks": _checks(found),
        "command": _command(result),
        "environment": words.flat(result.environment),
        "suite": "\n".join(f"{name} = {value}" for name, value in words.flat(result.suite)),
    }


def _big(fact: compare.Fact) -> str:
    """A fact in one number."""
    if fact.ratio and fact.ratio != 1:
        return words.ratio(fact.ratio if fact.ratio > 1 else 1 / fact.ratio) + (
            "" if fact.ratio > 1 else " less"
        )
    return metrics.show(fact.value, fact.unit)


def _column(column: summary.Column) -> dict[str, Any]:
    return {
        "label": column.label,
        "ok": column.ok,
        "repeats": column.repeats,
        "said_status": words.status(column),
        "notes": words.notes(column),
        "log": "\n".join(column.log_tail) if column.ok < column.repeats else "",
    }


def _checks(found: list[summary.Column]) -> list[tuple[str, list[dict[str, str] | None]]]:
    """A row for each check, a cell for each backend; parity is one of them."""
    made: dict[str, list[dict[str, str] | None]] = {}
    for place, column in enumerate(found):
        for check in column.first.validity:
            row = made.setdefault(check.name, [None] * len(found))
            both = f"{words.number(check.ours)} / {words.number(check.theirs)}"
            row[place] = {"verdict": check.verdict, "said": f"{both} {check.note}"}
        if column.parity:
            row = made.setdefault(f"same tokens as {column.parity.reference}", [None] * len(found))
            said = [words.parity(column.parity), column.parity.method]
            said += [words.divergence(column.parity), column.parity.note]
            text = "; ".join(part for part in said if part)
            row[place] = {"verdict": column.parity.verdict, "said": text}
    return list(made.items())


def _command(result: Result) -> str:
    """The command that made this run, where it was recorded."""
    command = result.volatile.get("command") or result.environment.get("command")
    if isinstance(command, list):
        command = " ".join(map(str, command))
    return str(command or f"pagedbench run --suite {result.suite.get('name', '')}")


def _data(entries: list[Entry]) -> dict[str, Any]:
    """What the scripts draw."""
    labels = list(dict.fromkeys(cell.label for entry in entries for cell in entry.result.cells))
    cells = []
    for number, entry in enumerate(entries):
        for column in summary.columns(entry.result):
            label = f"{entry.name}: {column.label}" if len(entries) > 1 else column.label
            look = {"color": labels.index(column.label), "dash": "dot" if number else "solid"}
            cells.append({"label": label, **look, **_cell(entry, column)})
    return {"cells": cells, "requests": _requests(entries)}


def _cell(entry: Entry, column: summary.Column) -> dict[str, Any]:
    cell = column.first
    same = [c for c in entry.result.cells if c.label == cell.label]
    speeds = metrics.values(metrics.get("output_tokens_per_s"), same)
    return {
        "backend": cell.backend,
        "status": cell.status,
        "layout": column.layout,
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
        text = request.get("text")
        length = len(text) if isinstance(text, str) else 0
        shown.append(
            {
                "id": str(request.get("id")),
                "text": str(text)[: words.LONGEST] if text is not None else None,
                "cut": length if length > words.LONGEST else 0,
                "prompt_tokens": len(request.get("prompt_ids") or []),
                "output_tokens": request.get("output_tokens"),
            }
        )
    return shown


def _builtins(found: msgspec.Struct | None) -> Any:
    return None if found is None else _finite(msgspec.to_builtins(found))


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON: they become null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


def docs_link(folder: Path) -> str | None:
    """Where the documentation is, seen from a run folder inside the repository."""
    for up, parent in enumerate(folder.resolve().parents, start=1):
        if (parent / "docs" / "numbers.md").is_file():
            return "/".join([".."] * up + ["docs"])
    return None
