"""The sampler process: watches devices and a process tree from outside, and streams a trace.

Started by the orchestrator through `traces.control.enter` with target "monitor.sampler:main". It
says Watching with the devices it watches (none is fine, `reason` says why), then takes orders:

    Mark  writes it down; follows that pid's tree; reads process list, energy and, at an end,
          PSS. With `reply` true it answers Marked when these are read.
    Look  answers State: used bytes and processes per device
    Stop  last readings, End record, answers Sampled, returns

Three threads: the ticker reads the devices (memory, load), the slow lane does all that takes
milliseconds and writes, the main one hears orders. Without a GPU the ticks are the process tree's,
in the main one. It promises no reading between ticks: a spike shorter than an interval may pass
unseen.
"""

import signal
import time
from pathlib import Path

from monitor.compiled import load
from monitor.inventory import describe, find
from monitor.lane import Lane
from monitor.nvml import Library
from monitor.settings import check
from monitor.ticker import Ticker
from monitor.ticks import NEVER, NOT_SCHEDULED, NS, SLOW_READINGS, Every, Ticks
from monitor.trace import Trace
from monitor.watch import Watch
from traces import clock
from traces.control import Channel
from traces.errors import Problem
from traces.messages import Message, Stop
from traces.records import End
from traces.sampling import Look, Mark, Marked, Sampled, Settings, State, Watching

BEGINNING_NS = 5_000_000  # what starting the threads may take
LAST_READINGS_S = 3.0
HURRY_S = 0.5


def main(settings: Settings, channel: Channel) -> None:
    """Sample until told to stop, or until the orchestrator is gone."""
    check(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the orchestrator's to handle
    Sampler(settings, channel).run()


class Sampler:
    """The main thread: orders, progress, ticks of the tree, writing when the lane is held up."""

    def __init__(self, settings: Settings, channel: Channel) -> None:
        self.settings = settings
        self.channel = channel
        self.trace = Trace(Path(settings.path), settings.interval_s)
        self.nvml = Library()
        self.gpus, self.reason = find(self.nvml, settings)
        if self.gpus:
            if not settings.ticker:
                raise Problem(f"a GPU cannot be watched: {settings.no_ticker}")
            self.compiled = load(settings.ticker)
        self.watch = Watch(settings, self.gpus, self.trace, channel)
        self.ending = False

    def run(self) -> None:
        """From ready to done."""
        signal.signal(signal.SIGTERM, self._terminate)
        self._introduce()
        self.cpu_before = time.process_time()
        settings, start = self.settings, clock.now() + BEGINNING_NS
        self.ticks = Ticks(settings.interval_s, start)
        self.lane = Lane(self.watch.periodic(start))
        self.progress = Every(settings.progress_interval_s, start)
        self.ticker: Ticker | None = None
        if self.gpus:
            self.ticker = Ticker(self.compiled, self.gpus, self.ticks, settings.slow_interval_s)
            self.ticker.start(self.trace)
        self.lane.start()
        if settings.ticker and not self.gpus:
            load(settings.ticker).ticker_hurry()  # the ticks are this thread's
        try:
            self._serve()
        except BaseException:
            if self.ticker:
                self.ticker.stop(HURRY_S)
            raise
        self._finish()

    def _serve(self) -> None:
        while not self.ending:
            due = self._chores()
            order = self.channel.receive(max(due - clock.now(), 1) / NS)
            while order:
                self._obey(order)
                order = self.channel.receive()
            if self.channel.lost.is_set():
                self.ending = True

    def _introduce(self) -> None:
        devices = [describe(gpu, self.nvml) for gpu in self.gpus]
        for device in devices:
            self.trace.put(device)
        self.channel.send(Watching(devices=devices, reason=self.reason))

    def _chores(self) -> int:
        """Do what is due; returns when there is more to do."""
        now = clock.now()
        self.lane.check()
        if self.progress.come(now):
            self.watch.progress()
        due = self._tick(now)
        return min(due, self.trace.flush_overdue(now), self.progress.due)

    def _tick(self, now: int) -> int:
        """Tick, where no ticker does; returns when the next one is due."""
        if self.ticker:
            self.ticker.check()
            return NEVER
        if now >= self.ticks.due:
            gap = self.ticks.begin(now)
            if gap:
                self.trace.put(gap)
            self.watch.tick(now)
            self.ticks.ended = clock.now()
        return self.ticks.due

    def _obey(self, order: Message) -> None:
        match order:
            case Mark():
                self.watch.note(order)
                self.lane.post(lambda: self._at_edge(order))
            case Look():
                self.lane.post(self._state)
            case Stop():
                self.ending = True

    def _at_edge(self, mark: Mark) -> None:
        self.watch.at_edge(mark)
        if mark.reply:
            read = Marked(cell=mark.cell, phase=mark.phase, edge=mark.edge, t=clock.now())
            self.channel.send(read)

    def _state(self) -> None:
        self.channel.send(State(devices=self.watch.state(), t=clock.now()))

    def _finish(self) -> None:
        lost = self.channel.lost.is_set()
        within_s = HURRY_S if lost else LAST_READINGS_S
        ended = self._end_ticks(self.ticker, within_s) if self.ticker else True
        ended = self.lane.stop(within_s if ended else HURRY_S) and ended
        if ended and not lost:
            self.lane.check()
            self.watch.last()
        account = self._account()
        self.trace.put(account)
        self.trace.close()
        self.nvml.close()
        self.channel.send(Sampled(account=account))

    def _end_ticks(self, ticker: Ticker, within_s: float) -> bool:
        """End them, and account for those that had not come by now; says whether they ended."""
        now = clock.now()
        ended = ticker.stop(within_s)
        ticker.check()
        self.trace.flush()
        ticker.count()
        gap = self.ticks.owed(now, NOT_SCHEDULED if ended else SLOW_READINGS)
        if gap:
            self.trace.put(gap)
        return ended

    def _account(self) -> End:
        ticks = self.ticks
        return End(
            t=0,
            ticks=ticks.done,
            missed=ticks.missed,
            rate_hz=round(ticks.rate_hz(), 3),
            jitter_p50=ticks.lateness.quantile(0.5),
            jitter_p99=ticks.lateness.quantile(0.99),
            cpu_s=round(time.process_time() - self.cpu_before, 6),
        )

    def _terminate(self, signum: int, frame: object) -> None:
        self.ending = True
