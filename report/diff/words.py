"""How a diff is said: the phrases that its renderers share."""

from math import isclose

from compare.diff.judge import OTHERWISE
from compare.diff.outcome import Diff, Mismatch, Row, Side
from compare.stats import CONFIDENCE, MOST_REPEATS, Change
from traces.units import show


def plain(text: str) -> str:
    """Make a text from a file safe to print: no control characters, no escape sequences."""
    return "".join(c if c.isprintable() else "?" for c in text)


def side(side: Side) -> str:
    """One result in a line."""
    commit = f"{side.commit[:10]}{'+' if side.dirty else ''}" if side.commit else "no commit"
    return plain(f"{side.name}  {commit}  {side.suite}")


def mismatch(found: Mismatch) -> str:
    """A difference between the two runs, and its consequence."""
    what = f"{found.name}: {found.base} -> {found.head}"
    consequence = "not comparable" if found.treatment == "refuse" else "compared, does not gate"
    if found.varied:
        consequence = "varied on purpose"
    return plain(f"{what} ({consequence})")


def values(row: Row) -> tuple[str, str]:
    """Both means, with enough digits to tell them apart."""
    one, two = (show(mean, row.unit) for mean in (row.change.base.mean, row.change.head.mean))
    if one == two and not isclose(row.change.base.mean, row.change.head.mean, rel_tol=1e-9):
        one, two = (f"{m:,.9g} {row.unit}" for m in (row.change.base.mean, row.change.head.mean))
    return one, two


def percent(ratio: float | None) -> str:
    """A ratio as a signed change."""
    if ratio is None:
        return ""
    change = (ratio - 1) * 100
    return "0 %" if change == 0 else f"{change:+.{2 if abs(change) < 1 else 1}f} %"


def interval(change: Change) -> str:
    """The interval of the change, or nothing where the change is exact or alone."""
    if change.low is None or change.high is None or change.exact:
        return ""
    return f"{percent(change.low)} to {percent(change.high)}"


def verdict(row: Row) -> str:
    """The verdict; in capitals when it decides."""
    said = "no verdict" if row.change.verdict == "none" else row.change.verdict
    loud = row.weight == "gates" and said in ("regressed", "improved")
    return said.upper() if loud else said


def reason(row: Row) -> str:
    """What a reader wants to know next."""
    parts = [row.why] if row.why else []
    if row.change.verdict == "inconclusive":
        needed = row.change.repeats_needed
        parts.append(f"about {needed} repeats" if needed else f"more than {MOST_REPEATS} repeats")
    if row.change.exact and row.change.verdict in ("regressed", "improved", "changed"):
        parts.append(_counted(row))
    return plain("; ".join(parts))


def _counted(row: Row) -> str:
    by = row.change.head.mean - row.change.base.mean
    whole = by.is_integer() and row.unit != "B"
    return f"exact: {int(by):+,} {row.unit}" if whole else "exact"


def explanation(row: Row) -> str:
    """How the verdict came about, in one sentence."""
    c = row.change
    n = f"{c.base.n} against {c.head.n} repeats"
    if row.why == OTHERWISE:
        return f"tokens are stored when scheduled on one side, when executing on the other ({n})"
    if c.exact:
        return f"a count, tolerance {c.tau:.2%}: the change itself decides ({n})"
    if c.low is None or c.p is None:
        return f"{n}: too few for an interval"
    edge = f"tolerance {c.tau:.2%}"
    place = {
        "regressed": f"all of the {CONFIDENCE:.0%} interval lies beyond the {edge}",
        "improved": f"all of the {CONFIDENCE:.0%} interval lies beyond the {edge}",
        "changed": f"all of the {CONFIDENCE:.0%} interval lies beyond the {edge}",
        "unchanged": f"all of the {CONFIDENCE:.0%} interval lies within the {edge}",
        "inconclusive": f"the {CONFIDENCE:.0%} interval crosses the {edge}",
        "none": f"{edge}, not judged",
    }[c.verdict]
    noise = f"spread {c.base.spread or 0:.1%} and {c.head.spread or 0:.1%}"
    return f"{place}; {n}, {noise}, p = {c.p:.2g} (not used)"


def notable(row: Row, named: bool) -> bool:
    """Say whether a row belongs in the short table."""
    if named:
        return True
    if row.change.verdict == "changed":
        return True
    return row.weight != "shown" and row.change.verdict != "unchanged"


def counts(diff: Diff) -> str:
    """How many of the judged metrics had which verdict."""
    judged: list[str] = [row.change.verdict for _, row in diff.rows() if row.weight != "shown"]
    order = ("regressed", "improved", "inconclusive", "unchanged", "none")
    named = {"none": "without verdict"}
    said = [f"{judged.count(v)} {named.get(v, v)}" for v in order if judged.count(v)]
    return f"{len(judged)} metrics: {', '.join(said)}" if said else "no metric was judged"
