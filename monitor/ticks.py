"""Ticks on the monotonic clock: when the next is due, which were missed, how late they came.

Deadlines are start + n x interval, so lateness never adds up. A tick is on time when it begins
before the next one is due; the others are missed, and are never made up for by a burst.
"""

from collections import Counter
from collections.abc import Sequence

from traces.records import Gap

NS = 1_000_000_000
NEVER = 1 << 62
CAUSES = NOT_SCHEDULED, SLOW_READINGS, SLOW_DISK = (
    "not scheduled",
    "the readings took too long",
    "the trace could not be written fast enough",
)
"""Why ticks were missed, as ticker.c numbers it."""


class Lateness:
    """Distribution of how late ticks came, to a microsecond.

    Its memory is bounded: a tick on time is late by less than the interval, and any other has a gap
    to itself, which is dearer.
    """

    def __init__(self) -> None:
        self.n = 0
        self._counts: Counter[int] = Counter()

    def add(self, lates: Sequence[int]) -> None:
        """Count ticks that were so many ns late."""
        self.n += len(lates)
        self._counts.update([late // 1000 for late in lates])

    def quantile(self, share: float) -> int | None:
        """Return the ns of lateness that `share` of the ticks did not exceed; None without any."""
        left = share * self.n
        for us in sorted(self._counts):
            left -= self._counts[us]
            if left <= 0:
                return us * 1000
        return None


class Ticks:
    """The account of a schedule: the next tick's `due` time, ticks done and `missed`, lateness.

    `came` and `skipped` tell it of the compiled ticks, which keep the schedule themselves; `begin`
    is a tick of our own. `ended` is when the latest one's readings were done.
    """

    def __init__(self, interval_s: float, start: int) -> None:
        self.interval = max(1, round(interval_s * NS))
        self.start = self.due = start
        self.ended = 0
        self.missed = 0
        self.lateness = Lateness()
        self._first: int | None = None
        self._last = 0

    @property
    def done(self) -> int:
        """Ticks that came."""
        return self.lateness.n

    def came(self, lates: Sequence[int]) -> None:
        """Count ticks that began so many ns after they were due."""
        if lates:
            self.lateness.add(lates)
            self._first = lates[0] if self._first is None else self._first
            self._last = lates[-1]

    def skipped(self, late: int, cause: str) -> Gap:
        """Count those that were missed before a tick came so many ns late; returns the gap."""
        missed = late // self.interval
        self.missed += missed
        return Gap(t=0, missed=missed, span=late, cause=cause)

    def owed(self, now: int, cause: str) -> Gap | None:
        """Count the ticks that were due before now and did not come; returns their gap, if any."""
        late = now - self.start - (self.done + self.missed) * self.interval
        return self.skipped(late, cause) if late >= self.interval else None

    def begin(self, now: int) -> Gap | None:
        """Begin a tick now; returns the gap before it, if any were missed."""
        late = now - self.due
        cause = SLOW_READINGS if self.ended >= self.due else NOT_SCHEDULED
        self.due += self.interval * (late // self.interval + 1)
        self.came([late])
        return self.skipped(late, cause) if late >= self.interval else None

    def rate_hz(self) -> float:
        """Return the achieved rate between the first tick and the last."""
        grid = (self.done + self.missed - 1) * self.interval
        span = grid + self._last % self.interval - (self._first or 0)
        return (self.done - 1) * NS / span if span > 0 else 0.0


class Every:
    """A coarse period for what rides on other ticks: true at most once an interval."""

    def __init__(self, interval_s: float | None, start: int) -> None:
        self._interval = round(interval_s * NS) if interval_s else 0
        self.due = start if interval_s else NEVER

    def come(self, now: int) -> bool:
        """Say whether it is time, and if so set the next one."""
        if now < self.due:
            return False
        self.due += self._interval * ((now - self.due) // self._interval + 1)
        return True
