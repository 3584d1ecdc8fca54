"""Tonight against the nights before it: is any metric where it should not be?

The nights before give a prediction interval on logarithms for one more night: it is as wide as
nights differ on this machine, so a metric's tolerance from night to night is learned, never
narrower than its usual one. A night's value that was a regression itself does not teach. A metric
outside is a *suspect* until a second run tonight is outside on the same side. Only nights that did
the same work teach: a cell that did what no night before it did is incomparable. What depends on
when a token counts as stored is learned anew where that changed.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from compare import metrics, stats
from compare.diff import cells, facts
from compare.diff.cells import Key
from compare.metrics import Metric
from measure.result import Cell, Result

NIGHTS = 20
LEARNED_AT = 5
CONFIDENCE = 0.99

NightVerdict = Literal[
    "normal", "regressed", "improved", "learning", "not confirmed", "incomparable"
]


class Finding(Struct, kw_only=True):
    """One metric of one cell tonight. `tolerance` is what was learned, as a share."""

    cell: str
    metric: str
    title: str
    unit: str
    verdict: NightVerdict
    value: float
    nights: int
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    tolerance: float | None = None
    again: float | None = None
    """What the second run gave."""


class Night(Struct, kw_only=True):
    """The judgement on one night; night.json holds it. `begun` and `commit` are the result's."""

    schema: int = 1
    begun: str
    commit: str | None
    suite: str
    verdict: NightVerdict | Literal["invalid"]
    findings: list[Finding]
    environment: list[str]
    """What changed since the night before."""
    notes: list[str]
    folder: str = ""

    def found(self, *verdicts: str) -> list[Finding]:
        """The findings with one of these verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]


class Before(Struct, kw_only=True):
    """An earlier night: its result, and the regressions that were found in it."""

    result: Result
    regressed: frozenset[tuple[str, str]] = frozenset()


def judge(tonight: Result, before: Sequence[Before], nights: int = NIGHTS) -> Night:
    """Compare tonight with the nights before it (oldest first), those of the same experiment."""
    wanted = facts.same_experiment(tonight)
    same = [night for night in before if facts.same_experiment(night.result) == wanted]
    grouped = [(cells.grouped(night.result.runs), night.regressed) for night in same]
    findings, other = [], list[str]()
    for which, repeats in cells.grouped(tonight.runs).items():
        findings += _outcome(which, repeats)
        known = [(g, bad) for g, bad in grouped if which in g]
        alike = [(g, bad) for g, bad in known if not cells.other_work(g[which], repeats)]
        if known and not alike:
            other.append(f"{cells.name(which)}: {cells.other_work(known[-1][0][which], repeats)}")
            findings.append(_incomparable(which, repeats))
            continue
        for metric in metrics.METRICS:
            like = [
                (g, bad)
                for g, bad in alike
                if cells.comparable(metric, g[which], repeats) and cells.says(metric, g[which])
            ]
            past = [v for g, bad in like if (v := _value(metric, which, g, bad)) is not None]
            if finding := _finding(metric, which, repeats, past[-nights:]):
                findings.append(finding)
    return Night(
        begun=str(tonight.volatile.get("begun", "")),
        commit=_text(facts.part(tonight, "git", "commit")),
        suite=str(tonight.suite.get("name", "")),
        verdict=overall(findings, tonight.complete),
        findings=findings,
        environment=_moved(same[-1].result, tonight) if same else [],
        notes=_notes(tonight, len(same)) + other,
    )


def confirm(night: Night, second: Result) -> None:
    """Keep of tonight's suspects those that the second run shows too."""
    grouped = {cells.name(which): repeats for which, repeats in cells.grouped(second.runs).items()}
    for finding in night.found("regressed", "improved"):
        repeats = grouped.get(finding.cell, [])
        if finding.metric == "outcome":
            again = _failed(repeats) or None
        else:
            values = metrics.values(metrics.get(finding.metric), repeats)
            again = stats.mean(values) if values else None
        finding.again = again
        if not _same_side(finding, again):
            finding.verdict = "not confirmed"
    night.verdict = overall(night.findings, night.verdict != "invalid")


def overall(findings: Sequence[Finding], complete: bool) -> NightVerdict | Literal["invalid"]:
    """The verdict on the night: the worst that was found."""
    verdicts = {finding.verdict for finding in findings}
    if "regressed" in verdicts:
        return "regressed"
    if not complete or not findings:
        return "invalid"
    order: tuple[NightVerdict, ...] = ("incomparable", "improved", "not confirmed", "normal")
    return next((verdict for verdict in order if verdict in verdicts), "learning")


def _value(
    metric: Metric, which: Key, grouped: Mapping[Key, list[Cell]], bad: frozenset[tuple[str, str]]
) -> float | None:
    if (cells.name(which), metric.name) in bad:
        return None
    values = metrics.values(metric, grouped.get(which, []))
    return stats.mean(values) if values else None


def _finding(
    metric: Metric, which: Key, repeats: list[Cell], past: Sequence[float]
) -> Finding | None:
    requests = min(cell.requests_run or cell.requests_asked for cell in repeats)
    values = metrics.values(metric, repeats)
    judged = metric.gates and metric.supported(requests) and cells.says(metric, repeats)
    if not values or not judged:
        return None
    value = stats.mean(values)
    finding = Finding(
        cell=cells.name(which), metric=metric.name, title=metric.title, unit=metric.unit,
        verdict="learning", value=value, nights=len(past),
    )  # fmt: skip
    if len(past) >= LEARNED_AT and min(*past, value) > 0:
        _place(finding, metric, past, metric.tolerance(repeats))
    return finding


def _place(finding: Finding, metric: Metric, past: Sequence[float], tau: float) -> None:
    """Put tonight's value against what the past predicts."""
    expected = past[-1] if metric.exact else stats.geometric(past)
    low, high = stats.prediction(past, CONFIDENCE)
    learned = max((high / low) ** 0.5 - 1, tau)
    if metric.exact and stats.steady(past, tau):
        learned = tau
    finding.expected, finding.tolerance = expected, learned
    finding.low, finding.high = expected / (1 + learned), expected * (1 + learned)
    if finding.low <= finding.value <= finding.high:
        finding.verdict = "normal"
    else:
        worse = (finding.value > expected) != (metric.better == "higher")
        finding.verdict = "regressed" if worse else "improved"


def _same_side(finding: Finding, again: float | None) -> bool:
    if again is None or finding.low is None or finding.high is None:
        return again is not None and finding.metric == "outcome"
    return again > finding.high if finding.value > finding.high else again < finding.low


def _outcome(which: Key, repeats: list[Cell]) -> list[Finding]:
    """A backend that failed needs no history to be a regression."""
    share = _failed(repeats)
    if not share:
        return []
    return [
        Finding(
            cell=cells.name(which),
            metric="outcome",
            title="repeats that failed",
            unit="share",
            verdict="regressed",
            value=share,
            nights=0,
        )
    ]


def _incomparable(which: Key, repeats: Sequence[Cell]) -> Finding:
    """No night did what tonight's repeats did, so none can say what it should take."""
    requests = min(cell.requests_run or cell.requests_asked for cell in repeats)
    return Finding(
        cell=cells.name(which), metric="work", title="requests", unit="requests",
        verdict="incomparable", value=requests, nights=0,
    )  # fmt: skip


def _failed(repeats: Sequence[Cell]) -> float:
    return sum(map(cells.went_wrong, repeats)) / max(len(repeats), 1)


def _moved(before: Result, tonight: Result) -> list[str]:
    found = facts.mismatches(before, tonight)
    return [f"{m.name} {m.base} -> {m.head}" for m in found if m.treatment == "warn"]


def _notes(tonight: Result, nights: int) -> list[str]:
    notes = [] if tonight.complete else ["the run is not complete"]
    doubts = sorted({reason for cell in tonight.runs for reason in cell.suspect})
    notes += [f"suspect: {reason}" for reason in doubts]
    if nights < LEARNED_AT:
        notes.append(f"{nights} nights of this experiment before; judged from {LEARNED_AT}")
    return notes


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
