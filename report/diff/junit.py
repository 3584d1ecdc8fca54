"""A diff as JUnit XML: a suite per cell and a case per metric, for a CI server to show.

A case fails only where the diff does: on a verdict that gates. What was left open is `skipped`,
with the reason; a cell that could not be compared is an `error`.
"""

from xml.etree.ElementTree import Element, SubElement, tostring

from compare.diff.outcome import CellDiff, Diff, Row
from report.diff import words
from traces.errors import INCOMPARABLE

COUNTS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}


def render(diff: Diff) -> str:
    """The whole document."""
    root = Element("testsuites", name="pagedbench diff")
    if not diff.cells or any(found.treatment == "refuse" for found in diff.mismatches):
        _refused(root, diff)
    for cell in diff.cells:
        _suite(root, cell)
    for name in COUNTS:
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _refused(root: Element, diff: Diff) -> None:
    suite = SubElement(root, "testsuite", name="results", tests="1", errors="1")
    case = SubElement(suite, "testcase", classname="results", name="comparable")
    error = SubElement(case, "error", message=words.plain(diff.verdict), type=str(INCOMPARABLE))
    error.text = "\n".join(map(words.mismatch, diff.mismatches))


def _suite(root: Element, cell: CellDiff) -> None:
    label = words.plain(cell.label)
    suite = SubElement(root, "testsuite", name=label, tests="0")
    if cell.state != "compared":
        case = SubElement(suite, "testcase", classname=label, name=cell.state)
        SubElement(case, "error", message=words.plain(cell.notes[0]), type=cell.state)
    for row in cell.rows:
        if row.weight != "shown":
            _case(suite, label, row)
    for name, tag in COUNTS.items():
        suite.set(name, str(sum(1 for _ in suite.iter(tag))))


def _case(suite: Element, label: str, row: Row) -> None:
    case = SubElement(suite, "testcase", classname=label, name=row.metric)
    base, head = words.values(row)
    said = f"{row.title}: {base} -> {head}  {words.percent(row.change.ratio)}  "
    said += f"{words.interval(row.change)}  {words.verdict(row)}  {words.reason(row)}"
    if row.change.verdict == "regressed" and row.weight == "gates":
        failure = SubElement(case, "failure", message=words.plain(said), type="regressed")
        failure.text = words.explanation(row)
    elif row.change.verdict in ("inconclusive", "none") or row.weight != "gates":
        why = f"{words.verdict(row)}  {words.reason(row)}"
        SubElement(case, "skipped", message=words.plain(why))
    SubElement(case, "system-out").text = words.plain(said)
