"""What the page's scripts draw: every cell's numbers and reduced lines, and the requests.

Bounded, whatever the length of the run: lines are reduced, prompts cut to their beginning.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from compare import metrics, stats, summary
from compare.headline import same_engine
from measure import result
from measure.build import Run
from report import words
from report.picture import Picture, picture


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One result to show, with its traces where they are there. Two exhibits are overlaid."""

    result: result.Result
    run: Run | None = None
    name: str = ""


class Throughput(stats.Summary, frozen=True, kw_only=True):
    """Tokens per second over the repeats, and each of them."""

    values: list[float]


class DrawnRow(Struct, frozen=True, kw_only=True):
    """One request of a cell: when it came, was begun, and had its tokens; seconds."""

    id: str
    arrive: float
    start: float | None
    first: float | None
    last: float | None
    output: int


class DrawnCell(Struct, frozen=True, kw_only=True):
    """One backend: its look, its numbers, and its lines where its traces are there."""

    label: str
    color: int
    dash: str
    backend: str
    status: str
    ended: bool
    layout: str | None
    kind: str | None
    timing: result.Timing | None
    throughput: Throughput | None
    kv: result.Kv | None
    ledger: result.Ledger | None
    rows: list[DrawnRow]
    picture: Picture | None


class DrawnRequest(Struct, frozen=True, kw_only=True):
    """A request with the beginning of its prompt. `cut` is the whole length where it is longer."""

    id: str
    text: str | None
    cut: int
    prompt_tokens: int
    output_tokens: int


class Scene(Struct, frozen=True, kw_only=True):
    """Everything drawn."""

    cells: list[DrawnCell]
    requests: list[DrawnRequest]
    policies: list[str]
    """The labels of the same engine reserving the maximum and paged, where one result is shown."""


def scene(exhibits: list[Exhibit]) -> Scene:
    """Everything drawn of one result, or of two."""
    labels = list(dict.fromkeys(cell.label for shown in exhibits for cell in shown.result.runs))
    cells = [
        _cell(shown, column, labels.index(column.label), number, len(exhibits) > 1)
        for number, shown in enumerate(exhibits)
        for column in summary.columns(shown.result)
    ]
    both = same_engine(exhibits[0].result) if len(exhibits) == 1 else None
    policies = [both[1], both[0]] if both else []
    return Scene(cells=cells, requests=_requests(exhibits), policies=policies)


def encoded(found: Scene) -> bytes:
    """As JSON in ASCII: what is no number becomes null, and no text can break the encoding."""
    plain = _finite(msgspec.to_builtins(found))
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def _cell(
    shown: Exhibit, column: summary.Column, color: int, number: int, named: bool
) -> DrawnCell:
    cell = column.first
    return DrawnCell(
        label=f"{shown.name}: {column.label}" if named else column.label,
        color=color,
        dash="dot" if number else "solid",
        backend=cell.backend,
        status=cell.status,
        ended=cell.ended is not None,
        layout=column.layout,
        kind=words.kind(column),
        timing=cell.timing,
        throughput=_throughput(column),
        kv=cell.kv,
        ledger=cell.ledger,
        rows=[
            DrawnRow(
                id=row.id, arrive=row.arrive, start=row.start, first=row.first, last=row.last,
                output=row.output_tokens,
            )
            for row in cell.rows
        ],
        picture=_picture(shown, cell),
    )  # fmt: skip


def _throughput(column: summary.Column) -> Throughput | None:
    speeds = metrics.values(metrics.get("output_tokens_per_s"), column.cells)
    if not speeds or column.cut_short:
        return None
    return Throughput(**msgspec.structs.asdict(stats.summarize(speeds)), values=speeds)


def _picture(shown: Exhibit, cell: result.Cell) -> Picture | None:
    found = shown.run.window(cell.label, cell.repeat) if shown.run else None
    return picture(found) if found is not None else None


def _requests(exhibits: list[Exhibit]) -> list[DrawnRequest]:
    """The requests with the beginning of their prompts."""
    run = next((shown.run for shown in exhibits if shown.run), None)
    drawn = []
    for request in run.requests if run else []:
        text = request.text
        length = len(text or "")
        drawn.append(
            DrawnRequest(
                id=request.id,
                text=text[: words.LONGEST] if text is not None else None,
                cut=length if length > words.LONGEST else 0,
                prompt_tokens=len(request.prompt_ids),
                output_tokens=request.output_tokens,
            )
        )
    return drawn


def _finite(value: Any) -> Any:
    """NaN and infinity are no JSON: they become null."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
