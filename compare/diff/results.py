"""From two results to a diff and its exit code: a pure function.

Precedence: what may not be compared at all; then a regression, wherever it is; then single cells
that did other work; then cells whose numbers are not valid; then, only when asked to be strict,
whatever was left open.
"""

from collections.abc import Iterable, Mapping

from compare.diff import cells, facts, judge
from compare.diff.outcome import CellDiff, Diff, Mismatch, Side
from measure.result import Result
from traces.errors import INCOMPARABLE, INCONCLUSIVE, INVALID, OK, REGRESSION

FORCED = "forced: these results do not belong together"


def diff(
    base: Result,
    head: Result,
    *,
    names: tuple[str, str] = ("base", "head"),
    metrics: Iterable[str] = (),
    tolerances: Mapping[str, float] | None = None,
    vary: Iterable[str] = (),
    strict: bool = False,
    force: bool = False,
) -> Diff:
    """Compare two results."""
    found = facts.mismatches(base, head, vary)
    refused = any(m.treatment == "refuse" for m in found)
    diff = Diff(
        base=_side(names[0], base), head=_side(names[1], head), mismatches=found, cells=[],
        added=[], removed=[], notes=_notes(base, head), forced=refused and force,
        verdict="", exit_code=OK,
    )  # fmt: skip
    if not refused or force:
        rules = judge.Rules(
            metrics=tuple(metrics), tolerances=tolerances or {}, ungated=_ungated(found)
        )
        _match(diff, base, head, rules)
    diff.exit_code, diff.verdict = conclude(diff, strict)
    return diff


def _match(diff: Diff, base: Result, head: Result, rules: judge.Rules) -> None:
    one, two = cells.grouped(base.runs), cells.grouped(head.runs)
    pairs, gone = cells.matched(one, two)
    diff.cells = [judge.cell(one[a], two[b], rules) for a, b in pairs]
    paired = {b for _, b in pairs}
    diff.removed = [label for label, *_ in gone]
    diff.added = [k[0] for k in two if k not in paired]


def _ungated(found: list[Mismatch]) -> str:
    if any(m.treatment == "refuse" for m in found):
        return FORCED
    names = [m.name for m in found if m.treatment == "warn" and not m.varied]
    if not names:
        return ""
    return f"{_differ(names)}: gates with --vary {' --vary '.join(names)}"


def _differ(names: list[str]) -> str:
    return f"{', '.join(names)} differ{'s' if len(names) == 1 else ''}"


def _side(name: str, result: Result) -> Side:
    commit = facts.part(result, "git", "commit")
    dirty = facts.part(result, "git", "dirty")
    return Side(
        name=name,
        commit=commit if isinstance(commit, str) else None,
        dirty=dirty if isinstance(dirty, bool) else None,
        suite=str(result.suite.get("name", "")),
        complete=result.complete,
    )


def _notes(base: Result, head: Result) -> list[str]:
    notes = []
    for side, result in (("base", base), ("head", head)):
        if facts.part(result, "git", "dirty") is True:
            notes.append(f"{side} was measured with uncommitted changes")
        if not result.complete:
            notes.append(f"{side} is not complete: finish it with `pagedbench run --resume`")
    return notes


def conclude(diff: Diff, strict: bool) -> tuple[int, str]:
    """The exit code and the one line that says why."""
    refused = [m.name for m in diff.mismatches if m.treatment == "refuse"]
    if refused:
        return INCOMPARABLE, f"incomparable: {_differ(refused)}"
    if not diff.cells:
        return INCOMPARABLE, "incomparable: no cell is in both"
    if count := _gating(diff, "regressed"):
        return REGRESSION, f"regressed: {_names(count)}"
    if other := [cell.label for cell in diff.cells if cell.state == "incomparable"]:
        return INCOMPARABLE, f"incomparable: {', '.join(other)} did other work"
    if invalid := _invalid(diff):
        return INVALID, f"invalid: {', '.join(invalid)}"
    if strict and (open_ := _open(diff)):
        return INCONCLUSIVE, f"inconclusive: {'; '.join(open_)}"
    return OK, _fine(diff)


def _fine(diff: Diff) -> str:
    """What to say of a diff that passes: never more than it found."""
    if doubtful := _advised(diff):
        return f"nothing that gates, but look at: {_names(doubtful)}"
    better = _gating(diff, "improved")
    said = f"improved: {_names(better)}" if better else "no regression"
    undecided = len(_undecided(diff))
    return f"{said}, but {undecided} metrics are undecided" if undecided else said


def _gating(diff: Diff, verdict: str) -> list[tuple[CellDiff, str]]:
    return [(cell, row.metric) for cell, row in diff.rows(verdict) if row.weight == "gates"]


def _names(found: list[tuple[CellDiff, str]]) -> str:
    shown = [f"{metric} of {cell.label}" for cell, metric in found]
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _invalid(diff: Diff) -> list[str]:
    sides = [name for name, side in (("base", diff.base), ("head", diff.head)) if not side.complete]
    return sides + [cell.label for cell in diff.cells if cell.state == "invalid"]


def _open(diff: Diff) -> list[str]:
    """What keeps a strict reader from calling it settled."""
    found = []
    if names := [m.name for m in diff.mismatches if m.treatment == "warn" and not m.varied]:
        found.append(_differ(names))
    if diff.removed:
        found.append(f"{', '.join(diff.removed)} removed")
    if unsure := _undecided(diff):
        found.append(_names(unsure))
    if doubtful := _advised(diff):
        found.append(f"look at: {_names(doubtful)}")
    return found


def _undecided(diff: Diff) -> list[tuple[CellDiff, str]]:
    rows = diff.rows("inconclusive", "none")
    return [(cell, row.metric) for cell, row in rows if row.weight != "shown"]


def _advised(diff: Diff) -> list[tuple[CellDiff, str]]:
    """Regressions that would gate, were there more repeats or the same environment."""
    return [(cell, row.metric) for cell, row in diff.rows("regressed") if row.weight == "advises"]
