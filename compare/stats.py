"""The statistics: how sure a change is, and what to say of it.

One fresh process gives one number per metric; repeats of it are what is compared. Ratios of
geometric means, with Welch's interval on the logarithms: run times multiply, and the two sides
need not be equally noisy. A verdict asks where that whole interval lies against a tolerance, not
whether p is small: with enough repeats every difference is "significant". p is given for those
who ask, and decides nothing.

Everything here works on lists of floats; nothing knows what a result is.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import exp, fsum, inf, log, sqrt
from typing import Literal

from msgspec import Struct

Verdict = Literal["regressed", "improved", "unchanged", "changed", "inconclusive", "none"]
Weight = Literal["gates", "advises", "shown"]
Better = Literal["higher", "lower", "neither"]

CONFIDENCE = 0.95
GATES_AT, ADVISES_AT = 5, 3  # repeats per side
VARYING_TAU = 0.01  # a count that should be exact but varies is judged like a measurement
LARGEST = 709.0
MOST_REPEATS = 100  # beyond it, more repeats are no answer


class Summary(Struct, frozen=True, kw_only=True):
    """Repeats of one metric. `spread` is the typical deviation of one repeat, as a share."""

    n: int
    mean: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None


class Change(Struct, frozen=True, kw_only=True):
    """What became of one metric. `ratio` is head over base, with its interval."""

    base: Summary
    head: Summary
    verdict: Verdict
    weight: Weight
    exact: bool
    tau: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    repeats_needed: int | None = None


# SciPy takes 0.2 s to import: only where an interval is asked for, not with every verb.


@lru_cache(4096)
def student_quantile(p: float, df: float) -> float:
    """The t below which a share `p` of Student's distribution lies; `df` need not be whole."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def student_cdf(t: float, df: float) -> float:
    """The probability that a t of `df` degrees of freedom is at most `t`."""
    from scipy.special import stdtr

    return float(stdtr(df, t))


def summarize(values: Sequence[float], confidence: float = CONFIDENCE) -> Summary:
    """The mean, with its interval where there are several repeats and all are positive."""
    n = len(values)
    if min(values) <= 0 or n < 2:
        return Summary(n=n, mean=mean(values))
    logs = [log(value) for value in values]
    deviation = sqrt(variance(logs))
    half = student_quantile((1 + confidence) / 2, n - 1) * deviation / sqrt(n)
    middle, factor = geometric(values), power(half)
    return Summary(
        n=n, mean=middle, low=middle / factor, high=middle * factor, spread=power(deviation) - 1
    )


def mean(values: Sequence[float]) -> float:
    """The mean of repeats: geometric, and the plain one where a value is not positive."""
    return geometric(values) if min(values) > 0 else fmean(values)


def fmean(values: Sequence[float]) -> float:
    """The plain mean, of numbers of any size."""
    n = len(values)
    return fsum([value / n for value in values])


def variance(values: Sequence[float]) -> float:
    """The sample variance: a tenth of the time of the exact one in `statistics`."""
    middle = fmean(values)
    return fsum((value - middle) ** 2 for value in values) / (len(values) - 1)


def power(x: float) -> float:
    """e to the x, infinite where a float ends: files may say anything."""
    return exp(x) if x < LARGEST else inf


def geometric(values: Sequence[float]) -> float:
    """The geometric mean, and exactly the value where all are the same."""
    if min(values) == max(values):
        return float(values[0])
    return power(fmean([log(value) for value in values]))


def compare(
    base: Sequence[float],
    head: Sequence[float],
    *,
    better: Better,
    tau: float,
    exact: bool = False,
    confidence: float = CONFIDENCE,
) -> Change:
    """Compare the repeats of one metric on two sides."""
    if exact and steady(base, tau) and steady(head, tau):
        return _exactly(base, head, better, tau)
    tau = max(tau, VARYING_TAU) if exact else tau
    if min(*base, *head) <= 0 or min(len(base), len(head)) < 2:
        return _without_interval(base, head, tau)
    return _welch(base, head, better, tau, confidence)


def steady(values: Sequence[float], tau: float) -> bool:
    """Say whether all repeats agree to within the tolerance."""
    low, high = min(values), max(values)
    return low == high or (low > 0 and high / low <= 1 + tau)


def _exactly(base: Sequence[float], head: Sequence[float], better: Better, tau: float) -> Change:
    """Counts: the change itself is the evidence, at any number of repeats."""
    one, two = summarize(base), summarize(head)
    ratio = two.mean / one.mean if one.mean > 0 and two.mean >= 0 else None
    shift = log(ratio) if ratio else (two.mean - one.mean)
    same = abs(shift) <= log(1 + tau)
    verdict: Verdict = "unchanged" if same else direction(shift, better)
    return Change(
        base=one, head=two, verdict=verdict, weight="gates", exact=True, tau=tau,
        ratio=ratio, low=ratio, high=ratio,
    )  # fmt: skip


def _without_interval(base: Sequence[float], head: Sequence[float], tau: float) -> Change:
    """Too little to judge by: show the two means."""
    one, two = summarize(base), summarize(head)
    ratio = two.mean / one.mean if one.mean > 0 and two.mean > 0 else None
    return Change(
        base=one, head=two, verdict="none", weight="shown", exact=False, tau=tau, ratio=ratio,
        repeats_needed=GATES_AT,
    )  # fmt: skip


def apart(base: Sequence[float], head: Sequence[float], *, tau: float) -> Change:
    """The means of two sides that do not measure the same: no ratio, no verdict."""
    return Change(
        base=summarize(base), head=summarize(head), verdict="none", weight="shown", exact=False,
        tau=tau,
    )  # fmt: skip


def _welch(
    base: Sequence[float], head: Sequence[float], better: Better, tau: float, confidence: float
) -> Change:
    one, two = [log(value) for value in base], [log(value) for value in head]
    shift = fmean(two) - fmean(one)
    error, df = _welch_error(one, two)
    half = student_quantile((1 + confidence) / 2, df) * error
    n = min(len(one), len(two))
    verdict = _verdict(shift - half, shift + half, better, tau)
    enough = n >= ADVISES_AT
    unsettled = not enough or verdict == "inconclusive"
    noise = variance(one) + variance(two)
    return Change(
        base=summarize(base, confidence),
        head=summarize(head, confidence),
        verdict=verdict if enough else "none",
        weight="gates" if n >= GATES_AT else "advises" if enough else "shown",
        exact=False,
        tau=tau,
        ratio=power(shift),
        low=power(shift - half),
        high=power(shift + half),
        p=_p(shift, error, df),
        repeats_needed=_needed(n + 1, shift, noise, tau, confidence) if unsettled else None,
    )


def _welch_error(one: Sequence[float], two: Sequence[float]) -> tuple[float, float]:
    """The standard error of the difference of two means, and its degrees of freedom."""
    a, b = variance(one) / len(one), variance(two) / len(two)
    if a + b == 0:
        return 0.0, float(len(one) + len(two) - 2)
    return sqrt(a + b), (a + b) ** 2 / (a * a / (len(one) - 1) + b * b / (len(two) - 1))


def _p(shift: float, error: float, df: float) -> float:
    if error == 0:
        return 1.0 if shift == 0 else 0.0
    return 2 * student_cdf(-abs(shift) / error, df)


def _verdict(low: float, high: float, better: Better, tau: float) -> Verdict:
    """Where the interval of the log ratio lies against the tolerance."""
    edge = log(1 + tau)
    if low > edge or high < -edge:
        return direction(low if low > edge else high, better)
    return "unchanged" if -edge <= low and high <= edge else "inconclusive"


def direction(shift: float, better: Better) -> Verdict:
    """What it means that a metric went up or down."""
    if better == "neither":
        return "changed"
    return "improved" if (shift > 0) == (better == "higher") else "regressed"


def _needed(least: int, shift: float, noise: float, tau: float, confidence: float) -> int | None:
    """How many repeats a side would settle it, should ratio and noise stay as they are.

    None when even MOST_REPEATS would not.
    """
    distance = abs(abs(shift) - log(1 + tau))
    for n in range(max(GATES_AT, least), MOST_REPEATS + 1):
        if student_quantile((1 + confidence) / 2, 2 * n - 2) * sqrt(noise / n) < distance:
            return n
    return None


def prediction(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Where one more value would lie, if nothing changed: an interval on the logarithms."""
    logs = [log(value) for value in values]
    n = len(logs)
    half = student_quantile((1 + confidence) / 2, n - 1) * sqrt(variance(logs) * (1 + 1 / n))
    return power(fmean(logs) - half), power(fmean(logs) + half)
