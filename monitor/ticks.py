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

    `add` only notes the number, since it runs within a tick; they are counted by the thousand.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._n = 0
        self._new: list[int] = []

    def add(self, late_ns: int) -> None:
        """Note one tick."""
        self._new.append(late_ns)
        if len(self._new) >= 1000:
            self._count()

    def _count(self) -> None:
        for late_ns in self._new:
            us = late_ns // 1000
            shift = max(0, us.bit_length() - 7)
            key = us >> shift << shift
            self._counts[key] = self._counts.get(key, 0) + 1
        self._n += len(self._new)
        self._new.clear()

    def quantile(self, share: float) -> int | None:
        """Return the ns of lateness that `share` of the ticks did not exceed; None without any."""
        self._count()
        left = share * self._n
        for us in sorted(self._counts):
            left -= self._counts[us]
            if left <= 0:
                return us * 1000
        return None


class Ticks:
    """A schedule and its account: `due`, ticks `done` and `missed`, and their lateness.

    `ended` is when the latest tick's readings were done: it tells why the next one is late.
    """

    def __init__(self, interval_s: float, start: int) -> None:
        self.interval = max(1, round(interval_s * NS))
        self.due = start
        self.ended = start
        self.done = 0
        self.missed = 0
        self.lateness = Lateness()
        self._first: int | None = None
        self._last = start

    def begin(self, now: int, full: bool = False) -> Gap | None:
        """Count the tick that begins now; returns the gap before it, if any ticks were missed.

        `full` says that they were left out as nobody took the readings.
        """
        due = self.due
        late = now - due
        self.lateness.add(late)
        self.done += 1
        self._last = now
        self.due += self.interval
        if late < self.interval and self._first is not None:
            return None
        self._first = now if self._first is None else self._first
        missed = late // self.interval
        self.due += missed * self.interval
        self.missed += missed
        if not missed:
            return None
        slow = SLOW_READINGS if self.ended >= due else NOT_SCHEDULED
        return Gap(t=now, missed=missed, span=late, cause=SLOW_DISK if full else slow)

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
