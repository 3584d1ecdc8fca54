"""The ticks of the devices: a thread that reads them on schedule, and the lines of what it read.

The loop itself is monitor/ticker.c, compiled by whoever starts the sampler. It writes the lines of
memory readings and keeps what else there is as rows; `take` puts them together, in front of the
next record or when it is time to flush. The thread comes back to Python only when a device's memory
cannot be read, and when it is to be asked again (monitor/gpu.py). It never writes: a disk that
blocks while one device is lost must not hold up the ticks of the others.
"""

import threading
from array import array
from collections import deque
from collections.abc import Callable
from ctypes import CDLL, string_at

from monitor.compiled import (
    CAUSE,
    GROUP,
    LATE,
    MISSED,
    NOTED,
    OFFSET,
    ROW,
    STOPPED,
    TIME,
    Group,
    Kept,
    Row,
)
from monitor.gpu import Gpu
from monitor.ticks import CAUSES, NEVER, NS, Ticks
from monitor.trace import Trace
from traces.errors import Problem
from traces.records import Record
from traces.writer import encoded

KEPT_S, LEAST_KEPT = 10.0, 1024  # ticks: how long a disk may keep the trace waiting
COUNTED_TOGETHER = 1 << 15  # bytes: by the thousand it takes a tenth of the time


class Ticker:
    """Reads devices on the schedule that `ticks` keeps the account of. Raises Problem."""

    def __init__(
        self, library: CDLL, gpus: list[Gpu], ticks: Ticks, slow_interval_s: float
    ) -> None:
        self._library = library
        self._gpus = gpus
        self._ticks = ticks
        self._error: BaseException | None = None
        self._lates = bytearray()
        self._notes: deque[Record] = deque()
        self._makers: list[Callable[[Row], bytes]] = []
        self._groups = (Group * (2 * len(gpus)))()
        for at, gpu in enumerate(gpus):
            memory, load = self._groups[2 * at : 2 * at + 2]
            memory.vital = 1
            load.interval, load.due = round(slow_interval_s * NS), ticks.start
            gpu.use(memory, load)
            self._makers += [gpu.silent_line, gpu.load_line]
        capacity = LEAST_KEPT + round(KEPT_S * NS / ticks.interval)
        self._ticker = library.ticker_new(
            self._groups, len(self._groups), ticks.interval, ticks.start, capacity
        )
        if not self._ticker:
            raise Problem("no memory for the readings of the GPUs")

    def start(self, trace: Trace) -> None:
        """Begin, and let the trace take what is read."""
        trace.source = self.take
        self._thread = threading.Thread(target=self._watch, name="ticks", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise here what stopped the ticks."""
        if self._error:
            raise self._error

    def stop(self, within_s: float) -> bool:
        """End after the tick that is going on; says whether it did, within so many seconds."""
        self._library.ticker_stop(self._ticker)
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def run(self, until: int = NEVER) -> int:
        """Tick in the calling thread: STOPPED, the time is REACHED, or a reading has FAILED."""
        outcome: int = self._library.ticker_run(self._ticker, until)
        return outcome

    def note(self, record: Record) -> None:
        """Keep a record of the ticking thread's own; past what is kept of ticks, it is dropped."""
        self._notes.append(record)
        if not self._library.ticker_note(self._ticker):
            self._notes.pop()

    def take(self) -> tuple[int, bytes]:
        """Return a time, and the lines of what was read before it and since the last time."""
        kept: Kept = self._library.ticker_take(self._ticker).contents
        self._lates += string_at(kept.lates, 8 * kept.n_ticks)
        if len(self._lates) > COUNTED_TOGETHER:
            self.count()
        text = string_at(kept.text, kept.n_text)
        if not kept.n_rows:
            return kept.t, text
        parts, done = [], 0
        for row in ROW.iter_unpack(string_at(kept.rows, kept.n_rows * ROW.size)):
            parts += [text[done : row[OFFSET]], self._line(row)]
            done = row[OFFSET]
        return kept.t, b"".join([*parts, text[done:]])

    def count(self) -> None:
        """Bring the account up to what was taken."""
        lates = array("q")
        lates.frombytes(self._lates)
        self._ticks.came(lates)
        self._lates.clear()

    def _line(self, row: Row) -> bytes:
        if row[GROUP] >= 0:
            return self._makers[row[GROUP]](row)
        if row[GROUP] == NOTED:
            record = self._notes.popleft()
        else:
            assert row[GROUP] == MISSED
            record = self._ticks.skipped(row[LATE], CAUSES[row[CAUSE]])
        record.t = row[TIME]
        return encoded(record)

    def _watch(self) -> None:
        try:
            self._library.ticker_hurry()
            until = NEVER
            while self.run(until) != STOPPED:
                for gpu in self._gpus:
                    gpu.look_after(self.note, self._ticks.interval)
                for gpu in self._gpus:
                    gpu.wire()
                until = min(gpu.ask_at for gpu in self._gpus)
        except BaseException as error:
            self._error = error
