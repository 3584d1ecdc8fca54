"""Durations as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traces import duration
from traces.errors import Problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1ms", 0.001), ("250us", 0.00025), ("0.5s", 0.5), (".5s", 0.5), ("10m", 600),
        ("2min", 120), ("2h", 7200), (" 10 ms ", 0.01), ("007s", 7),
    ],
)  # fmt: skip
def test_read(text, seconds):
    assert duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "10", "ms", "0s", "0.000ms", "-1s", "1 fortnight", "1S", "1,5s", "1e3s", "inf s", "nans",
     "1ms 2ms", "1.s", "9" * 13 + "h", "9" * 9999 + "s", "1\nms\n1ms", "٣"],
)  # fmt: skip
def test_refused_in_one_line(text):
    with pytest.raises(Problem, match="write a number above zero and a unit") as refused:
        duration.parse(text)
    assert "\n" not in str(refused.value)


@given(st.integers(1, 10**9), st.sampled_from(["us", "ms", "s", "m", "h"]))
def test_whole_numbers_are_exact(number, unit):
    factor = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]
    assert duration.parse(f"{number}{unit}") == number * factor


@given(st.text(max_size=20))
def test_anything_else_is_a_problem_or_positive(text):
    with suppress(Problem):
        assert duration.parse(text) > 0
