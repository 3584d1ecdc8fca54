"""A diff for the terminal: what changed, by how much, how surely, and why."""

from collections.abc import Iterator

from compare.diff.outcome import CellDiff, Diff, Row
from report.diff import words

HEADINGS = ("cell", "metric", "base", "head", "change", "95 % interval", "verdict", "")
RIGHT = {2, 3, 4}
COLOURS = {"regressed": "31", "improved": "32", "inconclusive": "33", "none": "33"}


def render(diff: Diff, *, named: bool = False, explain: bool = False, colour: bool = False) -> str:
    """The whole text, with a line end. `named`: the metrics were chosen, so all are shown."""
    lines = [f"base  {words.side(diff.base)}", f"head  {words.side(diff.head)}"]
    lines += [words.mismatch(found) for found in diff.mismatches]
    lines += [words.plain(note) for note in diff.notes]
    lines += [f"{what}: {words.plain(label)}" for what, label in _moved(diff)]
    if diff.cells:
        lines += ["", *_table(diff, named, explain, colour), "", words.counts(diff)]
    return "\n".join([*lines, words.plain(diff.verdict)]) + "\n"


def _moved(diff: Diff) -> Iterator[tuple[str, str]]:
    yield from (("added in head", label) for label in diff.added)
    yield from (("not in head", label) for label in diff.removed)


def _table(diff: Diff, named: bool, explain: bool, colour: bool) -> list[str]:
    rows: list[tuple[tuple[str, ...], str]] = [(HEADINGS, "")]
    for cell in diff.cells:
        rows += _cell(cell, named, explain)
    full = [row for row, _ in rows if len(row) > 2]
    widths = [max(len(row[i]) for row in full) for i in range(len(HEADINGS))]
    widths[0] = max(len(row[0]) for row, _ in rows)
    return [_line(row, verdict, widths, colour) for row, verdict in rows]


def _cell(cell: CellDiff, named: bool, explain: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    label = words.plain(cell.label)
    judged = explain and not named
    shown = [r for r in cell.rows if words.notable(r, named) or (judged and r.weight != "shown")]
    quiet = sum(row.weight != "shown" for row in cell.rows if row not in shown)
    for row in shown:
        yield _columns(label, row), row.change.verdict
        label = ""
        if explain:
            yield ("", words.explanation(row)), ""
    if quiet or not shown:
        said = f"{quiet} metrics unchanged" if quiet else cell.state
        yield (label, f"{'and ' if shown else ''}{said}"), ""
        label = ""
    for note in cell.notes:
        yield (label, words.plain(note)), ""


def _columns(label: str, row: Row) -> tuple[str, ...]:
    change = row.change
    return (
        label, row.title, *words.values(row), words.percent(change.ratio),
        words.interval(change), words.verdict(row), words.reason(row),
    )  # fmt: skip


def _line(row: tuple[str, ...], verdict: str, widths: list[int], colour: bool) -> str:
    if len(row) == 2:  # a sentence: it may run across the columns
        return f"{row[0]:{widths[0]}}  {row[1]}".rstrip()
    cells = [f"{text:{'>' if i in RIGHT else '<'}{widths[i]}}" for i, text in enumerate(row)]
    line = "  ".join(cells).rstrip()
    code = COLOURS.get(verdict) if colour else None
    return f"\x1b[{code}m{line}\x1b[0m" if code else line
