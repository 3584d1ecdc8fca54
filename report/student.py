"""Student's t distribution: the cumulative probability and its inverse, in plain floats.

SciPy has both, but importing scipy.special takes 0.6 s, several times what a whole diff needs
otherwise. So they are here, by the usual continued fraction of the incomplete beta function
(DLMF 8.17.22, evaluated by Lentz's method), and a test holds them against SciPy. Degrees of
freedom need not be whole: Welch's are not.
"""

from functools import lru_cache
from math import exp, lgamma, log, log1p, pi
from statistics import NormalDist

TINY = 1e-300
EPSILON = 1e-15
MAX_STEPS = 300  # the fraction converges in O(sqrt(df)) steps


def cdf(t: float, df: float) -> float:
    """The probability that a t of `df` degrees of freedom is at most `t`."""
    if t == 0:
        return 0.5
    tail = _incomplete_beta(df / (df + t * t), df / 2, 0.5) / 2
    return tail if t < 0 else 1 - tail


@lru_cache(4096)
def quantile(p: float, df: float) -> float:
    """The t below which a share `p` of the distribution lies, by Newton's method.

    The distribution is concave right of 0 and the normal quantile lies left of the root, so the
    steps approach it from one side and cannot overshoot. They double the digits: one that moved t
    by a millionth leaves it right to twelve.
    """
    if p < 0.5:
        return -quantile(1 - p, df)
    t = NormalDist().inv_cdf(p)
    t = max(t, t + (t**3 + t) / (4 * df)) if df > 3 else t  # the first term of its expansion
    for _ in range(MAX_STEPS):
        step = (p - cdf(t, df)) / density(t, df)
        t += step
        if abs(step) <= 1e-6 * t:
            break
    return t


def density(t: float, df: float) -> float:
    """The probability density at `t`."""
    scale = lgamma((df + 1) / 2) - lgamma(df / 2) - log(df * pi) / 2
    return exp(scale - (df + 1) / 2 * log1p(t * t / df))


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond it the fraction of the mirrored one converges faster
        return 1 - _incomplete_beta(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x)) / a
    return front * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away(1 + term * d)
            c = _away(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < EPSILON:
            break
    return value


def _away(x: float) -> float:
    """Keep a denominator off zero."""
    return x if abs(x) > TINY else TINY
