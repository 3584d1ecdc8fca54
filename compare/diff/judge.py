"""The verdicts on one cell: its outcome, its parity, and every metric of it.

A cell that was offered other work, or did other, is incomparable, not slower. A cell with a check
that always fails on one side and never on the other is invalid: its numbers stand there but gate
nothing. A backend that stopped working, or stopped giving the right tokens, regressed. What depends
on when a token counts as stored has no verdict where the two sides count otherwise.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from compare import metrics, noise, stats
from compare.diff.cells import comparable, other_work, says, went_wrong
from compare.diff.outcome import CellDiff, Row
from compare.metrics import Metric
from compare.metrics import values as measured
from compare.stats import Change, Summary, Verdict, Weight
from measure.result import Cell

OTHERWISE = "counted otherwise"
ENDED = "ended by the deadline: rates, shares and times between tokens at full load are compared"


class Rules(Struct, frozen=True, kw_only=True):
    """How to judge: which metrics (none: the usual ones), and tolerances that differ."""

    metrics: tuple[str, ...] = ()
    tolerances: Mapping[str, float] = {}
    ungated: str = ""
    """Why nothing may gate; empty when it may."""

    def chosen(self) -> Iterable[Metric]:
        """The metrics to judge."""
        return map(metrics.get, self.metrics) if self.metrics else metrics.METRICS


def cell(base: list[Cell], head: list[Cell], rules: Rules) -> CellDiff:
    """Compare the repeats of one cell."""
    found = CellDiff(
        label=head[0].label, backend=head[0].backend, options=head[0].options, state="compared"
    )
    if base[0].label != head[0].label:
        found.notes.append(f"was called {base[0].label}")
    found.rows = [row for row in (_outcome(base, head), _parity(base, head)) if row]
    for side, cells in (("base", base), ("head", head)):
        found.notes += [f"{side} {note}" for note in noise.notes(cells)]
    if other := other_work(base, head):
        found.state = "incomparable"
        found.notes.insert(0, other)
        return found
    requests = min((c.requests_run or 0 for c in base + head if c.status == "ok"), default=0)
    if any(cell.ended for cell in base + head):
        found.notes.append(ENDED)
    for metric in rules.chosen():
        if says(metric, base + head) and (row := _row(metric, base, head, rules, requests)):
            found.rows.append(row)
    found.notes += _lost(base, head, rules)
    if broken := _invariant(base + head) or _one_sided(base, head):
        found.state = "invalid"
        found.notes.insert(0, broken)
        _demote(found.rows, "the run is invalid")
    elif rules.ungated:
        _demote(found.rows, rules.ungated)
    return found


def _row(
    metric: Metric, base: list[Cell], head: list[Cell], rules: Rules, requests: int
) -> Row | None:
    one, two = measured(metric, base), measured(metric, head)
    if not one or not two:
        return None
    tau = rules.tolerances.get(metric.name, metric.tolerance(base + head))
    if comparable(metric, base, head):
        change = stats.compare(one, two, better=metric.better, tau=tau, exact=metric.exact)
        weight, why = _weight(metric, change, bool(rules.metrics), requests)
    else:
        change = stats.apart(one, two, tau=tau)
        weight, why = "advises" if metric.gates or rules.metrics else "shown", OTHERWISE
    return Row(
        metric=metric.name, title=metric.title, unit=metric.unit, change=change,
        weight=weight, why=why,
    )  # fmt: skip


def _lost(base: list[Cell], head: list[Cell], rules: Rules) -> Iterator[str]:
    """Name the metrics that gate and that one side alone could measure."""
    for side, here, there in (("base", base, head), ("head", head, base)):
        names = [
            m.name
            for m in rules.chosen()
            if m.gates
            and says(m, base + head)
            and metrics.values(m, there)
            and not metrics.values(m, here)
        ]
        if names and any(c.status == "ok" for c in here):
            yield f"not measured in {side}: {', '.join(names)}"


def _weight(metric: Metric, change: Change, named: bool, requests: int) -> tuple[Weight, str]:
    """What the verdict is worth, and why not more."""
    if not metric.supported(requests):
        return "shown", f"{requests} requests, needs {metric.requests}"
    if metric.better == "neither":
        return "shown", "a fact or a setting, neither better nor worse"
    if not (metric.gates or named):
        return "shown", "gates only when named with --metric"
    repeats = f"{min(change.base.n, change.head.n)} repeats"
    if change.weight == "advises":
        return "advises", f"{repeats}, gates from {stats.GATES_AT}"
    if change.verdict == "none":
        return "advises", f"{repeats}, judged from {stats.ADVISES_AT}"
    return change.weight, ""


def _demote(rows: list[Row], why: str) -> None:
    for row in rows:
        if row.weight == "gates":
            row.weight, row.why = "advises", why


def _invariant(cells: list[Cell]) -> str:
    """Say which invariant the numbers of a repeat break."""
    return next((f"broken: {cell.reason}" for cell in cells if cell.status == "invalid"), "")


def _one_sided(base: list[Cell], head: list[Cell]) -> str:
    """Name the checks that always fail on one side and never on the other."""
    for side, here, there in (("base", base, head), ("head", head, base)):
        sometimes = set().union(*map(_failed_checks, there))
        always = set.intersection(*map(_failed_checks, here))
        if always - sometimes:
            return f"a check failed in {side} only: {', '.join(sorted(always - sometimes))}"
    return ""


def _failed_checks(cell: Cell) -> set[str]:
    """The ledger's does not count: its residual flags a cell, but is about memory alone."""
    failed = {check.name for check in cell.validity if check.verdict == "fail"}
    return {name for name in failed if not name.startswith("ledger")}


def _outcome(base: list[Cell], head: list[Cell]) -> Row | None:
    """Repeats that did not end well; None where all did. Interruptions are nobody's fault."""
    return _mishap(
        "outcome", "repeats that failed",
        [went_wrong(c) for c in base], [went_wrong(c) for c in head],
        ", ".join(f"{n} x {status}" for status, n in _reasons(head)),
    )  # fmt: skip


def _reasons(cells: list[Cell]) -> list[tuple[str, int]]:
    return Counter(str(c.status) for c in cells if went_wrong(c)).most_common()


def _parity(base: list[Cell], head: list[Cell]) -> Row | None:
    """Repeats whose tokens were not the reference's."""
    one, two = ([c.parity.verdict == "fail" for c in s if c.parity] for s in (base, head))
    return _mishap("parity", "repeats that failed parity", one, two, "")


def _mishap(
    name: str, title: str, base: Sequence[bool], head: Sequence[bool], why: str
) -> Row | None:
    """A row for something that must not happen. New is a regression, gone an improvement."""
    if not (any(base) or any(head)) or not (base and head):
        return None
    verdict: Verdict = "unchanged"
    if any(base) != any(head):
        verdict = "regressed" if any(head) else "improved"
    change = Change(
        base=_share(base), head=_share(head), verdict=verdict, weight="gates", exact=True, tau=0.0
    )
    return Row(metric=name, title=title, unit="share", change=change, weight="gates", why=why)


def _share(happened: Sequence[bool]) -> Summary:
    return Summary(n=len(happened), mean=sum(happened) / len(happened))
