"""What the verdicts mean, and that the intervals hold what they promise."""

import random
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare import noise, stats

AROUND = [99.0, 100.0, 101.0, 100.5, 99.5]


def compare(base, head, better="lower", tau=0.05, **more):
    return stats.compare(base, head, better=better, tau=tau, **more)


def times(values, factor):
    return [value * factor for value in values]


def test_summary_by_hand():
    found = stats.summarize([1.0, exp(2.0)])
    assert found.mean == pytest.approx(exp(1.0))
    # t(0.975, 1) = 12.706; the deviation of 0 and 2 is sqrt 2, so the half width is 12.706
    assert log(found.high or 0) == pytest.approx(1 + 12.7062, abs=1e-4)
    assert found.spread == pytest.approx(exp(2**0.5) - 1)


def test_welch_interval_is_scipys():
    from scipy import stats as scipys

    one, two = [10.1, 10.4, 9.7, 10.0], [11.2, 11.9, 10.8, 12.4, 11.1]
    change = compare(one, two)
    theirs = scipys.ttest_ind(list(map(log, two)), list(map(log, one)), equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert log(change.low) == pytest.approx(interval.low)
    assert log(change.high) == pytest.approx(interval.high)
    assert change.p == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(
    ("factor", "better", "verdict"),
    [
        (1.10, "lower", "regressed"),
        (1.10, "higher", "improved"),
        (0.90, "lower", "improved"),
        (0.90, "higher", "regressed"),
        (1.10, "neither", "changed"),
        (1.01, "lower", "unchanged"),
        (1.05, "lower", "inconclusive"),
    ],
)
def test_where_the_interval_lies_decides(factor, better, verdict):
    assert compare(AROUND, times(AROUND, factor), better).verdict == verdict


def test_significant_is_not_regressed():
    change = compare(AROUND * 20, times(AROUND * 20, 1.02))
    assert change.p < 1e-6
    assert change.verdict == "unchanged"


@pytest.mark.parametrize(
    ("n", "weight", "verdict"),
    [(1, "shown", "none"), (2, "shown", "none"), (3, "advises", "regressed"),
     (4, "advises", "regressed"), (5, "gates", "regressed")],
)  # fmt: skip
def test_repeats_decide_the_weight(n, weight, verdict):
    change = compare(AROUND[:n], times(AROUND, 1.3))
    assert (change.weight, change.verdict) == (weight, verdict)


def test_repeats_that_would_settle_it_do():
    rng = random.Random(1)

    def noisy(n, factor):
        return [factor * exp(rng.gauss(0, 0.04)) for _ in range(n)]

    settled = 0
    for _ in range(50):
        change = compare(noisy(5, 1), noisy(5, 1.1))
        if change.verdict == "inconclusive" and change.repeats_needed:
            n = change.repeats_needed
            assert n > 5
            settled += compare(noisy(n, 1), noisy(n, 1.1)).verdict != "inconclusive"
        else:
            settled += 1
    assert settled > 35


def test_the_repeats_needed_are_the_fewest_that_settle():
    """Logs of 0, 0.2, 0, 0.2 on both sides: variances of 0.04 / 3, no shift, an edge of log 1.05.

    Half the interval of n a side is t(0.975, 2n - 2) * sqrt(0.08 / 3n), and the edge 0.04879:
    1.98793 * 0.024618 = 0.04894 at 44 is too wide, 1.98729 * 0.024343 = 0.04838 at 45 is not.
    """
    four = [1.0, exp(0.2), 1.0, exp(0.2)]
    change = compare(four, four)
    assert change.verdict == "inconclusive"
    assert change.repeats_needed == 45


def test_hopeless_noise_is_said_to_be():
    change = compare([50.0, 100.0, 200.0, 90.0, 110.0], [60.0, 100.0, 190.0, 90.0, 115.0])
    assert change.verdict == "inconclusive"
    assert change.repeats_needed is None


def test_counts_compare_at_one_repeat():
    assert compare([512], [512], exact=True, tau=0).verdict == "unchanged"
    one_block = compare([512], [528], exact=True, tau=0)
    assert (one_block.verdict, one_block.weight) == ("regressed", "gates")
    assert compare([0.92], [0.92 / 1.01], "higher", 0.005, exact=True).verdict == "regressed"
    assert compare([0.92], [0.92 / 1.004], "higher", 0.005, exact=True).verdict == "unchanged"


def test_counts_from_and_to_nothing():
    assert compare([0], [3], exact=True, tau=0).verdict == "regressed"
    assert compare([3], [0], exact=True, tau=0).verdict == "improved"
    assert compare([0, 0], [0, 0], exact=True, tau=0).verdict == "unchanged"


def test_counts_that_vary_are_judged_like_measurements():
    varying = [512, 528, 512, 528, 512]
    assert compare(varying, [528, 512, 528, 512, 528], exact=True, tau=0).verdict != "regressed"
    assert compare(varying, times(varying, 1.2), exact=True, tau=0).verdict == "regressed"
    assert compare([512, 528], [528, 560], exact=True, tau=0).verdict == "none"


def test_values_without_logarithm_get_no_verdict():
    change = compare([1.0, 0.0, 2.0], [1.0, 2.0, 3.0])
    assert (change.verdict, change.weight, change.low) == ("none", "shown", None)


def test_no_noise_at_all():
    assert compare([7.0] * 5, [7.0] * 5).verdict == "unchanged"
    assert compare([7.0] * 5, [8.0] * 5).verdict == "regressed"


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = random.Random(2)
    hits = 0
    for _ in range(1000):
        base = [exp(rng.gauss(0, 0.02)) for _ in range(5)]
        head = [1.07 * exp(rng.gauss(0, 0.06)) for _ in range(5)]
        change = compare(base, head)
        hits += change.low < 1.07 < change.high
    assert 930 < hits < 970


def test_prediction_holds_the_next_value_as_often_as_it_says():
    rng = random.Random(3)
    hits = 0
    for _ in range(1000):
        low, high = stats.prediction([exp(rng.gauss(1, 0.05)) for _ in range(8)], 0.95)
        hits += low < exp(rng.gauss(1, 0.05)) < high
    assert 930 < hits < 970


def test_drift_is_found_and_not_invented():
    rng = random.Random(4)
    steady = [exp(rng.gauss(0, 0.01)) for _ in range(8)]
    heating = [value * 1.01**i for i, value in enumerate(steady)]
    assert noise.drift(steady) is None
    assert noise.drift(heating) == pytest.approx(0.07, abs=0.03)
    assert noise.drift(heating[:4]) is None


ANY = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=7)


@given(ANY, ANY, st.booleans())
def test_no_numbers_break_it(base, head, exact):
    assert compare(base, head, exact=exact).base.n == len(base)


@given(
    st.lists(st.floats(1, 1e6), min_size=2, max_size=8),
    st.lists(st.floats(1, 1e6), min_size=2, max_size=8),
    st.floats(0.001, 1000),
)
def test_sides_and_units_do_not_matter(base, head, unit):
    there, back = compare(base, head), compare(head, base)
    assert there.ratio * back.ratio == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1, rel=1e-6)
    opposite = {"regressed": "improved", "improved": "regressed"}
    if abs(log(there.low) - log(1.05)) > 1e-9 and abs(log(there.high) + log(1.05)) > 1e-9:
        assert back.verdict == opposite.get(there.verdict, there.verdict)
    scaled = compare(times(base, unit), times(head, unit))
    assert scaled.low == pytest.approx(there.low, rel=1e-6)


def test_no_tolerance_at_all():
    """Nothing moved and nothing may: no number of repeats would settle that."""
    change = compare(AROUND, AROUND, tau=0.0)
    assert (change.verdict, change.repeats_needed) == ("inconclusive", None)
    assert compare(AROUND, times(AROUND, 1.0001), tau=0.0).repeats_needed is None
    assert compare(AROUND, times(AROUND, 2.0), tau=0.0).verdict == "regressed"
