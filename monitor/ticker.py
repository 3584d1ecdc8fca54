"""The ticks of the devices: a thread that reads them on schedule, and the lines of what it read.

The loop itself is monitor/ticker.c, compiled by whoever starts the sampler. It keeps rows; `take`
makes lines of them, by the dozen, in front of the next record or when it is time to flush. The
thread comes back to Python only when a device's memory cannot be read: what to do then is decided
there (monitor/gpu.py).
"""

import threading
from collections.abc import Callable
from ctypes import CDLL, byref, c_int64, c_void_p, string_at

from monitor.compiled import CODE, NEVER, ROW, STOPPED, Group, Row
from monitor.gpu import Gpu
from monitor.ticks import NS, Ticks
from monitor.trace import Trace
from traces.errors import Problem
from traces.writer import encoded

KEPT_S, LEAST_KEPT = 10.0, 1024  # of rows: how long a disk may keep the trace waiting


class Ticker:
    """Reads devices on the schedule that `ticks` keeps the account of. Raises Problem."""

    def __init__(
        self, library: CDLL, gpus: list[Gpu], ticks: Ticks, slow_interval_s: float
    ) -> None:
        self._library = library
        self._gpus = gpus
        self._ticks = ticks
        self._begun = 0
        self._error: BaseException | None = None
        self._makers: list[Callable[[Row], bytes]] = []
        self._groups = (Group * (2 * len(gpus)))()
        for at, gpu in enumerate(gpus):
            memory, load = self._groups[2 * at : 2 * at + 2]
            memory.vital = 1
            load.interval, load.due = round(slow_interval_s * NS), ticks.due
            gpu.use(memory, load)
            self._makers += [gpu.memory_line, gpu.load_line]
        capacity = LEAST_KEPT + round((len(self._groups) + 1) * KEPT_S * NS / ticks.interval)
        self._ticker = library.ticker_new(
            self._groups, len(self._groups), ticks.interval, ticks.due, capacity
        )
        if not self._ticker:
            raise Problem("no memory for the readings of the GPUs")

    def start(self, trace: Trace) -> None:
        """Begin, and let the trace take what is read."""
        trace.source = self.take
        self._thread = threading.Thread(
            target=self._watch, args=(trace,), name="ticks", daemon=True
        )
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

    def take(self) -> tuple[int, bytes]:
        """Return a time, and the lines of what was read before it and since the last time."""
        rows, t = c_void_p(), c_int64()
        kept = self._library.ticker_take(self._ticker, byref(rows), byref(t))
        lines = []
        ticks, begun, makers = self._ticks, self._begun, self._makers
        for row in ROW.iter_unpack(string_at(rows, kept * ROW.size)):
            begin, stamp, group, full = row[:CODE]
            if begin != begun:
                begun = begin
                gap = ticks.begin(begin, full)
                if gap:
                    gap.t = stamp
                    lines.append(encoded(gap))
            ticks.ended = stamp
            if group >= 0:
                lines.append(makers[group](row))
        self._begun = begun
        return t.value, b"".join(lines)

    def _watch(self, trace: Trace) -> None:
        try:
            self._library.ticker_hurry()
            until = NEVER
            while self.run(until) != STOPPED:
                for gpu in self._gpus:
                    gpu.look_after(trace, self._ticks.interval)
                for gpu in self._gpus:
                    gpu.wire()
                until = min(gpu.ask_at for gpu in self._gpus)
        except BaseException as error:
            self._error = error
