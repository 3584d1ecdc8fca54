"""A diff as a comment on a pull request: the verdict, the notable rows, the rest folded away."""

from collections.abc import Iterable

from compare.diff.outcome import CellDiff, Diff, Row
from report.diff import words

HEAD = "| cell | metric | base | head | change | 95 % interval | verdict | |"
RULE = "|---|---|--:|--:|--:|---|---|---|"
SIGNS = {1: "❌", 0: "✅"}


def render(diff: Diff, *, named: bool = False) -> str:
    """The whole document."""
    every = diff.rows()
    notable = [(cell, row) for cell, row in every if words.notable(row, named)]
    lines = [f"### {SIGNS.get(diff.exit_code, '⚠️')} pagedbench: {escape(diff.verdict)}", ""]
    sides = (("base", diff.base), ("head", diff.head))
    lines += [f"- {name}: {escape(words.side(side))}" for name, side in sides]
    lines += [f"- {escape(line)}" for line in _remarks(diff)]
    if notable:
        lines += ["", HEAD, RULE, *_rows(notable)]
    lines += ["", f"{words.counts(diff)}."]
    if every and not named:
        lines += ["", "<details><summary>All metrics</summary>", "", HEAD, RULE, *_rows(every)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _remarks(diff: Diff) -> Iterable[str]:
    yield from map(words.mismatch, diff.mismatches)
    yield from diff.notes
    yield from (f"added in head: {label}" for label in diff.added)
    yield from (f"not in head: {label}" for label in diff.removed)
    yield from (f"{cell.label}: {note}" for cell in diff.cells for note in cell.notes)


def _rows(rows: Iterable[tuple[CellDiff, Row]]) -> list[str]:
    return [f"| {' | '.join(map(escape, _columns(cell, row)))} |" for cell, row in rows]


def _columns(cell: CellDiff, row: Row) -> tuple[str, ...]:
    change = row.change
    return (
        cell.label, row.title, *words.values(row), words.percent(change.ratio),
        words.interval(change), words.verdict(row), words.reason(row),
    )  # fmt: skip


def escape(text: str) -> str:
    """Keep a text from a file from becoming Markdown or HTML."""
    safe = words.plain(text).replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\")
    for sign in "|`*_[]@#":
        safe = safe.replace(sign, f"\\{sign}")
    return safe
