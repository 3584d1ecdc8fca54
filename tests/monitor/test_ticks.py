"""Ticks keep to the clock, and the account of them adds up."""

from hypothesis import given
from hypothesis import strategies as st

from monitor.ticks import Every, Lateness, Ticks

MS = 1_000_000


def test_lateness_does_not_add_up():
    ticks = Ticks(0.001, 0)
    for n in range(100):
        assert ticks.begin(n * MS + 300_000) is None
    assert ticks.due == 100 * MS


def test_a_late_tick_counts_those_it_swallowed_and_keeps_the_grid():
    ticks = Ticks(0.001, 0)
    ticks.begin(0)
    gap = ticks.begin(4 * MS + 200_000)
    assert gap
    assert (gap.missed, gap.span) == (3, 3 * MS + 200_000)
    assert (ticks.done, ticks.missed, ticks.due) == (2, 3, 5 * MS)


@given(st.lists(st.integers(0, 20 * MS), min_size=1, max_size=200))
def test_done_and_missed_are_all_the_ticks_there_were(waits):
    ticks, now = Ticks(0.001, 0), 0
    for wait in waits:
        now = max(now + wait, ticks.due)
        ticks.begin(now)
    assert ticks.done + ticks.missed == now // MS + 1
    assert now < ticks.due <= now + MS


def test_rate_is_that_of_the_ticks_that_came():
    ticks = Ticks(0.01, 0)
    for n in (0, 1, 2, 4, 5, 6, 8, 9, 10):
        ticks.begin(n * 10 * MS)
    assert ticks.rate_hz() == 80.0


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=300), st.floats(0.01, 1))
def test_quantiles_are_exact_to_a_microsecond(lates, share):
    lateness = Lateness()
    lateness.add(lates)
    exact = sorted(lates)[max(0, -int(-share * len(lates) // 1) - 1)]
    found = lateness.quantile(share)
    assert found is not None
    assert found <= exact
    assert exact - found < 1000


def test_no_ticks_no_quantile():
    assert Lateness().quantile(0.5) is None


def test_every_comes_once_an_interval_however_late():
    every = Every(0.01, 0)
    came = [ms for ms in (0, 5, 10, 19, 47, 49, 50, 59, 60) if every.come(ms * MS)]
    assert came == [0, 10, 47, 50, 60]


def test_without_an_interval_it_never_comes():
    assert not Every(None, 0).come(1 << 61)
    assert not Every(0, 0).come(1 << 61)
