"""report.md: the comparison for a pull request or a terminal, in plain Markdown tables.

Text from outside (labels, reasons, logs, model names) is escaped, so that it shows as written.
"""

import re

from compare.headline import headline
from compare.summary import Column, columns, memory_kind
from measure.result import Result
from report import rows as comparison
from report import words
from traces import units

WORDS = ("how", "check", "verdict", "note", "value")  # columns of words: flush left
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!])")


def render(result: Result) -> str:
    """The whole report."""
    found = columns(result)
    parts = [
        f"# {text(result.model.name)}, {text(result.dtype)}, {text(result.workload.name)}",
        "\n".join(f"- {text(fact.text)}" for fact in headline(result)),
        _table(result, found),
        " ".join(text(s) for s in [*words.sentences(result, found), words.once(found)] if s),
        *_outcomes(found),
        _waste(found),
        _ledgers(found),
        _checks(found),
        _environment(result),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def text(outside: object) -> str:
    """Escape what Markdown or HTML would read as markup; one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(outside).split()))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _grid(head: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *("---" if name in WORDS else "---:" for name in head[1:])]
    return "\n".join(_row(row) for row in (head, rule, *rows))


def _table(result: Result, found: list[Column]) -> str:
    rows = [["status", *(text(words.status(column)) for column in found)]]
    rows += ([row.title, *row.cells] for row in comparison.rows(found))
    if any(column.first.enough for column in found):
        rows.append([words.ENOUGH, *map(words.enough, found)])
    if any(column.parity for column in found):
        rows.append(["parity", *(text(words.parity(column.parity)) for column in found)])
    kind = "GPU memory" if memory_kind(result) == "device" else "host memory (PSS)"
    return _grid([kind, *(text(words.heading(column)) for column in found)], rows)


def _outcomes(found: list[Column]) -> list[str]:
    notes = [note for column in found for note in words.notes(column)]
    said = ["\n".join(f"- {text(note)}" for note in notes)]
    for column in found:
        if column.ok < column.repeats and column.log_tail:
            said.append(f"The last log lines of {text(column.label)}:")
            said.append("\n".join(f"    {line}" for line in column.log_tail[-10:]))
    return said


def _waste(found: list[Column]) -> str:
    causes = ("reservation", "scheduled_ahead", "internal", "padding", "external")
    rows = []
    for column in found:
        if column.waste:
            shares = [column.waste.get(cause) for cause in causes]
            cells = [f"{units.share(s.value)} ({s.how})" if s else units.DASH for s in shares]
            rows.append([text(column.label), *cells])
    return (
        "## Slots held without a live token\n\n"
        + _grid(["", *(cause.replace("_", " ") for cause in causes)], rows)
        if rows
        else ""
    )


def _ledgers(found: list[Column]) -> str:
    parts = []
    for column in found:
        if ledger := column.first.ledger:
            rows = [
                [line.name, units.size(line.bytes), f"{line.how}: {text(line.note)}"]
                for line in ledger.lines
            ]
            mark = " (flagged)" if ledger.flagged else ""
            rows.append(["residual", units.size(ledger.residual), f"not explained{mark}"])
            rows.append(["total", units.size(ledger.total), f"by {ledger.against}, at the peak"])
            parts.append(f"### {text(column.label)}\n\n" + _grid(["", "bytes", "how"], rows))
    return "\n\n".join(["## Memory at the peak of the run", *parts]) if parts else ""


def _checks(found: list[Column]) -> str:
    rows = [
        [text(column.label), text(check.name), check.verdict,
         words.side(check, check.ours), words.side(check, check.theirs), text(check.note)]
        for column in found
        for check in column.checks
    ]  # fmt: skip
    head = ["backend", "check", "verdict", "ours", "theirs", "note"]
    return "## Checks\n\n" + _grid(head, rows) if rows else ""


def _environment(result: Result) -> str:
    rows = [[text(name), text(value)] for name, value in words.flat(result.environment)]
    return "## Environment\n\n" + _grid(["", "value"], rows) if rows else ""
