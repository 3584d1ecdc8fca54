"""A night in words: one line for a chat, and a page for whoever follows it."""

from collections.abc import Iterable

from compare.night import Finding, Night
from report.diff.markdown import escape
from report.diff.words import plain
from traces.units import show

SAID = {
    "regressed": "REGRESSED",
    "improved": "improved",
    "not confirmed": "fine, one suspicion was not confirmed",
    "normal": "fine",
    "learning": "learning",
    "incomparable": "INCOMPARABLE",
    "invalid": "INVALID",
}


def line(night: Night) -> str:
    """One line: the verdict, the worst of it, the commit, and where to look."""
    parts = [f"pagedbench nightly {night.suite}: {SAID[night.verdict]}"]
    if worst := night.found("regressed") or night.found("improved"):
        parts.append(_brief(worst))
    if night.verdict in ("invalid", "learning", "incomparable"):
        parts.append("; ".join(night.notes) or "nothing to judge")
    if night.environment and worst:
        parts.append(f"since last night: {', '.join(night.environment)}")
    parts.append(f"{(night.commit or 'no commit')[:10]} {night.folder}")
    return plain(" | ".join(parts))


def _brief(findings: list[Finding]) -> str:
    first = max(findings, key=lambda f: abs(_change(f) or 0))
    more = f" and {len(findings) - 1} more" if len(findings) > 1 else ""
    return f"{first.cell} {first.title} {_percent(first)}{more}"


def _change(finding: Finding) -> float | None:
    return finding.value / finding.expected - 1 if finding.expected else None


def _percent(finding: Finding) -> str:
    change = _change(finding)
    return show(finding.value, finding.unit) if change is None else f"{change * 100:+.1f} %"


def page(night: Night) -> str:
    """Markdown: the line, what was out of place, and the tolerance learned for every metric."""
    lines = [f"# {escape(line(night))}", "", f"Begun {escape(night.begun)}."]
    lines += [f"- {escape(note)}" for note in (*night.notes, *_changes(night))]
    if odd := night.found("regressed", "improved", "not confirmed", "incomparable"):
        lines += ["", "## Out of place", "", *_table(odd)]
    lines += ["", "## All metrics", "", *_table(night.findings)]
    return "\n".join(lines) + "\n"


def _changes(night: Night) -> Iterable[str]:
    return (f"changed since the night before: {what}" for what in night.environment)


def _table(findings: Iterable[Finding]) -> list[str]:
    rows = [
        "| cell | metric | tonight | expected | tolerance | second run | nights | verdict |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for f in findings:
        expected = show(f.expected, f.unit) if f.expected is not None else ""
        tolerance = f"±{f.tolerance * 100:.1f} %" if f.tolerance is not None else ""
        again = show(f.again, f.unit) if f.again is not None else ""
        values = (f.cell, f.title, show(f.value, f.unit), expected, tolerance, again)
        rows.append(f"| {' | '.join(map(escape, values))} | {f.nights} | {f.verdict} |")
    return rows
