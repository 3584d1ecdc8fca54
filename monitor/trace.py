"""The sampler's trace file, shared by its two threads: every record is stamped as it is given.

Stamping under the lock keeps the file in time order, whichever thread is slow. Samples are only
noted by the tick and become lines by the dozen, in front of the next record or when it is time to
flush: made one by one, a thousand times a second on a core that was asleep, they cost several times
as much.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traces import clock
from traces.errors import Problem
from traces.records import Record
from traces.writer import FLUSH_NS, Writer, encoded

Make = Callable[[Any], bytes]


class TraceLost(Problem):
    """The disk refused the trace."""


class Trace:
    """An open trace file. Raises TraceLost, one line, when the disk refuses."""

    def __init__(self, path: Path, meta: dict[str, Any]) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._writer = Writer(path, "monitor", meta)
        except OSError as error:
            raise self._lost(error) from error
        self._noted: list[tuple[Make, tuple[Any, ...]]] = []
        self._flushed = clock.now()

    def put(self, record: Record) -> None:
        """Stamp and write one record."""
        with self._lock:
            record.t = clock.now()
            try:
                self._write_noted()
                self._writer.write(record)
            except OSError as error:
                raise self._lost(error) from error

    def note(self, make: Make, *values: Any) -> None:
        """Stamp values; `make` turns (time, *values) into a line, later: the hot path."""
        with self._lock:
            self._noted.append((make, (clock.now(), *values)))

    def _write_noted(self) -> None:
        """Write down what was noted; the lock is held."""
        if self._noted:
            lines = b"".join([make(values) for make, values in self._noted])
            latest = self._noted[-1][1][0]
            self._noted.clear()
            self._writer.line(lines, latest)

    def flush_due(self, now: int) -> int:
        """Flush if 100 ms have passed; returns when the next flush is due."""
        if now - self._flushed >= FLUSH_NS:
            self.flush()
            self._flushed = now
        return self._flushed + FLUSH_NS

    def flush(self) -> None:
        """Hand everything to the kernel."""
        with self._lock:
            try:
                self._write_noted()
                self._writer.flush()
            except OSError as error:
                raise self._lost(error) from error

    def close(self) -> None:
        """Flush and close."""
        with self._lock:
            try:
                self._write_noted()
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
