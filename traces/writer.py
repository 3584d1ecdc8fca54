"""Append records to a JSONL file, cheaply, and lose at most a moment's worth when killed."""

import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from traces import clock
from traces.records import FORMAT_VERSION, FreeForm, Header, Record

FLUSH_NS = 100_000_000  # what `kill -9` may cost: 100 ms of records
BUFFER_BYTES = 1 << 16
_HEAD = b'{"v":%d,' % FORMAT_VERSION
_encode = msgspec.json.Encoder().encode


def encoded(record: Record) -> bytes:
    """Return a record as its line."""
    return _HEAD + _encode(record)[1:] + b"\n"


class Writer:
    """One trace file. Creates it (an existing one is an error) and writes its header.

    Lines are collected in memory and written at most every 100 ms, or when 64 KiB are waiting;
    `flush` forces it, `flushed` is when it was last done. Raises OSError when the disk refuses
    (full, gone): the caller decides.
    Threads may share one: Transformers schedules in a thread of its own.
    """

    def __init__(self, path: Path, writer: str, meta: FreeForm | None = None) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._waiting = bytearray()
        self._lock = threading.RLock()
        self.flushed = clock.now()
        t, wall = clock.paired()
        self.write(
            Header(
                t=t,
                clock=clock.CLOCK,
                boot_id=clock.boot_id(),
                wall_ns=wall,
                host=socket.gethostname(),
                pid=os.getpid(),
                writer=writer,
                meta=meta or {},
            )
        )
        self.flush()

    def write(self, record: Record) -> None:
        """Queue one record; write what is due."""
        self.line(encoded(record), record.t)

    def line(self, line: bytes, t: int) -> None:
        """Queue one record that is a line already, of time `t`: for whoever writes thousands."""
        with self._lock:
            self._waiting += line
            if len(self._waiting) >= BUFFER_BYTES or t - self.flushed >= FLUSH_NS:
                self.flush()

    def flush(self) -> None:
        """Hand everything queued to the kernel: from there it survives the process."""
        with self._lock:
            self.flushed = clock.now()
            while self._waiting:
                written = os.write(self._fd, self._waiting)
                del self._waiting[:written]

    def close(self) -> None:
        """Flush and close; closing twice is fine."""
        if self._fd >= 0:
            try:
                self.flush()
            finally:
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()
