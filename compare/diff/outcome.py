"""The types of a diff. `as_json` writes them as they are, so names here are a format: version 1.

A row is one metric of one cell. Its change has the verdict; its `weight` says what the verdict is
worth: it `gates`, it `advises` (too few repeats, or the environment differs), or it is only
`shown`; `why` gives the reason where it does not gate.
"""

from typing import Literal

from msgspec import Struct, field

from compare.stats import Change, Weight
from traces.job import Options

Treatment = Literal["refuse", "warn", "record"]
State = Literal["compared", "incomparable", "invalid"]


class Mismatch(Struct, kw_only=True):
    """A fact about the two runs that differs, and what that means for comparing them."""

    name: str
    treatment: Treatment
    base: str
    head: str
    varied: bool = False
    """Named with --vary: the difference is what is being measured."""


class Row(Struct, kw_only=True):
    """One metric of one cell."""

    metric: str
    title: str
    unit: str
    change: Change
    weight: Weight
    why: str = ""


class CellDiff(Struct, kw_only=True):
    """One cell that both results have."""

    label: str
    backend: str
    options: Options
    state: State
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Side(Struct, kw_only=True):
    """One of the two results."""

    name: str
    commit: str | None
    dirty: bool | None
    suite: str
    complete: bool


class Diff(Struct, kw_only=True):
    """Everything there is to say; renderers add nothing."""

    schema: int = 1
    base: Side
    head: Side
    mismatches: list[Mismatch]
    cells: list[CellDiff]
    added: list[str]
    removed: list[str]
    notes: list[str]
    forced: bool
    verdict: str
    exit_code: int

    def rows(self, *verdicts: str) -> list[tuple[CellDiff, Row]]:
        """Every row, or every row with one of these verdicts, with its cell."""
        return [
            (cell, row)
            for cell in self.cells
            for row in cell.rows
            if not verdicts or row.change.verdict in verdicts
        ]
