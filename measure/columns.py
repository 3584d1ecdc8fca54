"""Columns of numbers over time: appended row by row, read as NumPy arrays without a copy.

A million rows of eight columns are 64 MB here and would be a gigabyte as objects. A null is NaN:
it never becomes a 0. Bytes stay exact (a double holds integers up to 2**53).
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
NULL = float("nan")


@dataclass(frozen=True, slots=True)
class Series:
    """Values that hold from their time until the next one."""

    t: Ints
    v: Floats

    def __len__(self) -> int:
        return len(self.t)

    def between(self, begin: int, end: int) -> "Series":
        """The points with begin <= t <= end (views, no copy)."""
        first, last = np.searchsorted(self.t, (begin, end + 1))
        return Series(self.t[first:last], self.v[first:last])

    def known(self) -> "Series":
        """The points that are not null."""
        there = ~np.isnan(self.v)
        return self if there.all() else Series(self.t[there], self.v[there])

    def at(self, t: int) -> float | None:
        """The last known value at or before `t`."""
        known = self.known()
        place = int(np.searchsorted(known.t, t, side="right")) - 1
        return float(known.v[place]) if place >= 0 else None

    def peak(self) -> float | None:
        """The highest known value."""
        known = self.known()
        return float(known.v.max()) if len(known) else None

    def peak_time(self) -> int | None:
        """When the highest known value was first seen."""
        known = self.known()
        return int(known.t[known.v.argmax()]) if len(known) else None

    def filled(self, times: Ints) -> Floats:
        """The value at each of `times`; NaN before the first point."""
        if not len(self.t):
            return np.full(len(times), NULL)
        places = np.searchsorted(self.t, times, side="right") - 1
        return np.where(places >= 0, self.v[np.maximum(places, 0)], NULL)


EMPTY = Series(np.empty(0, np.int64), np.empty(0))


def total(parts: list[Series]) -> Series:
    """The sum of several series, each holding its last known value, from when all are known.

    Adds up the changes in order of time: one sort, whatever the number of parts, and exact for
    whole numbers.
    """
    known = [part.known() for part in parts]
    known = [part for part in known if len(part)]
    if len(known) < 2:
        return known[0] if known else EMPTY
    t = np.concatenate([part.t for part in known])
    change = np.concatenate([np.diff(part.v, prepend=0.0) for part in known])
    order = np.argsort(t, kind="stable")
    t, v = t[order], np.cumsum(change[order])
    begin = np.searchsorted(t, max(int(part.t[0]) for part in known), side="right") - 1
    return Series(t[begin:], v[begin:])


class Columns:
    """One time column and named value columns."""

    __slots__ = ("arrays", "names", "t")

    def __init__(self, *names: str) -> None:
        self.names = names
        self.t: array[int] = array("q")
        self.arrays = [array("d") for _ in names]

    def __len__(self) -> int:
        return len(self.t)

    def append(self, t: int, *values: float | None) -> None:
        """Add a row; None is null."""
        self.t.append(t)
        for column, value in zip(self.arrays, values, strict=True):
            column.append(NULL if value is None else value)

    def adder(self) -> tuple[Callable[[int], None], Callable[[float], None]]:
        """Of a single column: what appends a time and what appends a value, for tight loops."""
        (column,) = self.arrays
        return self.t.append, column.append

    def times(self) -> Ints:
        """The time column."""
        return np.frombuffer(self.t, np.int64)

    def column(self, name: str) -> Floats:
        """One value column."""
        return np.frombuffer(self.arrays[self.names.index(name)], np.float64)

    def series(self, name: str) -> Series:
        """One value column with its times."""
        return Series(self.times(), self.column(name))

    def between(self, begin: int, end: int) -> Self:
        """A copy of the rows with begin <= t <= end."""
        first, last = (int(i) for i in np.searchsorted(self.times(), (begin, end + 1)))
        part = type(self)(*self.names)
        part.t = self.t[first:last]
        part.arrays = [column[first:last] for column in self.arrays]
        return part
