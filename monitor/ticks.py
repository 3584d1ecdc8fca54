"""Ticks on the monotonic clock: when the next is due, which were missed, how late they came.

Deadlines are start + n x interval, so lateness never adds up. A tick is on time when it begins
before the next one is due; the others are missed, and are never made up for by a burst.
"""

from traces.records import Gap

NS = 1_000_000_000
SLOW_READINGS = "the readings took too long"
SLOW_DISK = "the trace could not be written fast enough"
NOT_SCHEDULED = "not scheduled"


class Lateness:
    """Distribution of how late ticks came, in bounded memory: exact below 128 us, then to 2 %.

    `new` takes nanoseconds; they are counted by the thousand.
    """

    def __init__(self) -> None:
        self.new: list[int] = []
        self._counts: dict[int, int] = {}
        self._counted = 0

    def count(self) -> int:
        """Count what is new; returns how many there are in all."""
        counts = self._counts
        for late_ns in self.new:
            us = late_ns // 1000
            if us > 127:
                shift = us.bit_length() - 7
                us = us >> shift << shift
            counts[us] = counts.get(us, 0) + 1
        self._counted += len(self.new)
        self.new.clear()
        return self._counted

    def quantile(self, share: float) -> int | None:
        """Return the ns of lateness that `share` of the ticks did not exceed; None without any."""
        left = share * self.count()
        for us in sorted(self._counts):
            left -= self._counts[us]
            if left <= 0:
                return us * 1000
        return None


class Ticks:
    """A schedule and its account: the next tick's `due` time, ticks `done` and `missed`.

    `ended` is when the latest tick's readings were done: it tells why the next one is late.
    """

    def __init__(self, interval_s: float, start: int) -> None:
        self.interval = max(1, round(interval_s * NS))
        self.due = start
        self.ended = start
        self.missed = 0
        self.lateness = Lateness()
        self._first: int | None = None
        self._last = 0

    @property
    def done(self) -> int:
        """Ticks that came."""
        return self.lateness.count()

    def begin(self, now: int, full: bool = False) -> Gap | None:
        """Count the tick that begins now; returns the gap before it, if any ticks were missed.

        `full` says that they were left out as nobody took the readings. Short: up to 1000 times a
        second.
        """
        late = now - self.due
        new = self.lateness.new
        new.append(late)
        self._last = now
        if self._first is None:
            self._first = now
        self.due += self.interval
        if late >= self.interval:
            return self._missed(late, full)
        if len(new) > 999:
            self.lateness.count()
        return None

    def _missed(self, late: int, full: bool) -> Gap:
        missed = late // self.interval
        slow = SLOW_READINGS if self.ended >= self.due - self.interval else NOT_SCHEDULED
        self.due += missed * self.interval
        self.missed += missed
        return Gap(t=0, missed=missed, span=late, cause=SLOW_DISK if full else slow)

    def rate_hz(self) -> float:
        """Return the achieved rate between the first tick and the last."""
        span = self._last - (self._last if self._first is None else self._first)
        return (self.done - 1) * NS / span if span > 0 else 0.0


class Every:
    """A coarse period for what rides on other ticks: true at most once an interval."""

    def __init__(self, interval_s: float | None, start: int) -> None:
        self._interval = round(interval_s * NS) if interval_s else 0
        self.due = start if interval_s else 1 << 62

    def come(self, now: int) -> bool:
        """Say whether it is time, and if so set the next one."""
        if now < self.due:
            return False
        self.due += self._interval * ((now - self.due) // self._interval + 1)
        return True
