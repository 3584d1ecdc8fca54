"""The sampler's trace file, shared by its two threads: every record is stamped as it is written.

Stamping under the lock keeps the file in time order, whichever thread is slow.
"""

import threading
from pathlib import Path
from typing import Any

import msgspec

from traces import clock
from traces.errors import Problem
from traces.records import Record
from traces.writer import FLUSH_NS, HEAD, Writer


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
        self._flushed = clock.now()

    def put(self, record: Record) -> None:
        """Stamp and write one record."""
        with self._lock:
            record.t = clock.now()
            try:
                self._writer.write(record)
            except OSError as error:
                raise self._lost(error) from error

    def line(self, template: bytes, *values: int) -> None:
        """Write one record that needs only its time and these numbers filled in: the hot path."""
        with self._lock:
            t = clock.now()
            try:
                self._writer.line(template % (t, *values), t)
            except OSError as error:
                raise self._lost(error) from error

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
                self._writer.flush()
            except OSError as error:
                raise self._lost(error) from error

    def close(self) -> None:
        """Flush and close."""
        with self._lock:
            try:
                self._writer.close()
            except OSError as error:
                raise self._lost(error) from error

    def _lost(self, error: OSError) -> TraceLost:
        return TraceLost(f"cannot write the trace {self._path}: {error.strerror or error}")


def template(blank: Record, *numbers: str) -> bytes:
    """Return this record's line with %d in place of its time and of these (null) fields."""
    line = HEAD + msgspec.json.encode(blank)[1:].replace(b"%", b"%%") + b"\n"
    for name, value in (("t", b"0"), *((name, b"null") for name in numbers)):
        before = b'"%s":' % name.encode()
        assert line.count(before + value) == 1
        line = line.replace(before + value, before + b"%d")
    return line
