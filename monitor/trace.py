"""The sampler's trace file, shared by its threads: every record is stamped as it is given.

Stamping under the lock keeps the file in time order, whichever thread is slow. `source` is what
the ticker has read meanwhile: its lines are taken in front of the next record, or when it is time
to flush, and the time that comes with them is that record's.
"""

import threading
from collections.abc import Callable
from pathlib import Path

from traces import clock
from traces.errors import Problem
from traces.records import Record
from traces.writer import FLUSH_NS, Writer, encoded

OVERDUE_NS = FLUSH_NS * 11 // 10

Source = Callable[[], tuple[int, bytes]]


class TraceLost(Problem):
    """The disk refused the trace."""


class Trace:
    """An open trace file. Raises TraceLost, one line, when the disk refuses."""

    def __init__(self, path: Path, interval_s: float) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._writer = Writer(path, "monitor", {"interval_s": interval_s})
        except OSError as error:
            raise self._lost(error) from error
        self.source: Source = lambda: (clock.now(), b"")

    def put(self, record: Record) -> None:
        """Stamp and write one record."""
        with self._lock:
            try:
                record.t = self._catch_up()
                self._writer.write(record)
            except OSError as error:
                raise self._lost(error) from error

    def _catch_up(self) -> int:
        """Write what the source has, and return the time; the lock is held."""
        t, lines = self.source()
        if lines:
            self._writer.line(lines, t)
        return t

    def flush_overdue(self, now: int) -> int:
        """Flush if whose task it is has not done so; returns when it will be overdue next."""
        if now - self._writer.flushed >= OVERDUE_NS:
            self.flush()
        return self._writer.flushed + OVERDUE_NS

    def flush(self) -> None:
        """Hand everything to the kernel."""
        with self._lock:
            try:
                self._catch_up()
                self._writer.flush()
            except OSError as error:
                raise self._lost(error) from error

    def close(self) -> None:
        """Flush and close."""
        with self._lock:
            try:
                self._catch_up()
                self._writer.close()
            except OSError as error:
                raise self._lost(error) from error

    def _lost(self, error: OSError) -> TraceLost:
        return TraceLost(f"cannot write the trace {self._path}: {error.strerror or error}")


def template(blank: Record, *numbers: str) -> bytes:
    """Return this record's line with %d in place of its time and of these (null) fields."""
    text = encoded(blank).replace(b"%", b"%%")
    for name, value in (("t", b"0"), *((name, b"null") for name in numbers)):
        before = b'"%s":' % name.encode()
        assert text.count(before + value) == 1
        text = text.replace(before + value, before + b"%d")
    return text
