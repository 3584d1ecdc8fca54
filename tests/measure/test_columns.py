"""Columns and series: values that hold until the next one, sums of several, fewer for a picture."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from measure.columns import Columns, Series, total
from report.reduce import reduce


def series(points: list[tuple[int, float]]) -> Series:
    """A series of points given in order."""
    return Series(np.array([t for t, _ in points]), np.array([v for _, v in points], float))


points = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 2**40)), unique_by=lambda p: p[0]
).map(sorted)


def test_null_is_never_zero():
    columns = Columns("used")
    columns.append(1, 5)
    columns.append(2, None)
    found = columns.series("used")
    assert np.isnan(found.v[1])
    assert found.peak() == 5
    assert found.at(3) == 5
    assert found.at(0) is None


def test_between_keeps_both_ends():
    found = series([(1, 1), (2, 2), (3, 3)]).between(2, 3)
    assert found.t.tolist() == [2, 3]


def test_total_by_hand():
    summed = total([series([(0, 10), (4, 20)]), series([(2, 1), (6, 3)])])
    assert summed.t.tolist() == [2, 4, 6]
    assert summed.v.tolist() == [11, 21, 23]


@given(st.lists(points.filter(bool), min_size=2, max_size=4))
def test_total_is_the_sum_of_the_last_known_values(parts):
    summed = total([series(part) for part in parts])
    for t in (summed.t[-1], summed.t[len(summed) // 2]):
        assert summed.at(t) == sum(series(part).at(t) or 0 for part in parts)
    assert summed.t[0] == max(part[0][0] for part in parts)


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=3000), st.integers(1, 40))
def test_reducing_loses_no_peak_of_any_column(values, columns):
    whole = series(list(enumerate(values)))
    end = len(values) - 1
    few = reduce(whole, 0, end, columns)
    assert len(few) <= max(4 * columns, len(values) if len(values) <= 4 * columns else 0) + 2
    assert (few.v.max(), few.v.min()) == (whole.v.max(), whole.v.min())
    assert few.v[-1] == whole.v[-1]
    edges = [end * i // columns for i in range(columns + 1)]
    for a, b in itertools.pairwise(edges):
        last = b if b == end else b - 1
        if last >= a:
            inside, kept = whole.between(a, last), few.between(a, last)
            assert (kept.v.max(), kept.v.min()) == (inside.v.max(), inside.v.min())


def test_a_spike_of_one_sample_in_a_million_is_kept():
    t = np.arange(1_000_000)
    v = np.zeros(1_000_000)
    v[654_321] = 7.0
    assert reduce(Series(t, v), 0, 999_999, 100).peak() == 7.0
