"""The sampler process: watches devices and a process tree from outside, and streams a trace.

Started by the orchestrator through `traces.control.enter` with target "monitor.sampler:main". It
says `ready` with the devices it watches (none is fine, `reason` says why), then takes orders:

    mark   {cell, phase, edge, watching}  writes a Mark; follows that pid's tree; reads process
                                          list, energy and, at an end, PSS. With `reply` true it
                                          answers `marked` when these are read.
    state  {}                             answers `state`: used bytes and processes per device
    stop   {}                             last readings, End record, answers `done`, returns

Two threads: the main one keeps the ticks (device memory, load), the slow lane does all that takes
milliseconds. Without a GPU there is one thread, and the ticks are the process tree's. It promises
no reading between ticks: a spike shorter than an interval may pass unseen.
"""

import ctypes
import gc
import signal
import sys
import time
from pathlib import Path
from typing import Any

from monitor.inventory import describe, find
from monitor.lane import Lane
from monitor.nvml import Library
from monitor.settings import Settings, read
from monitor.ticks import NS, Every, Ticks
from monitor.trace import Trace
from monitor.watch import Watch, host_interval
from traces import clock
from traces.control import Channel, Message
from traces.records import End, Gap

CHORES_NS = 5_000_000
LONGEST_WAIT_NS = 50_000_000
LAST_READINGS_S = 3.0
SLOW_READINGS = "the readings took too long"
HURRY_S = 0.5
PR_SET_TIMERSLACK = 29
SLACK_NS = 1000


def main(config: dict[str, Any], channel: Channel) -> None:
    """Sample until told to stop, or until the orchestrator is gone."""
    settings = read(config)
    prepare()
    Sampler(settings, channel).run()


def prepare() -> None:
    """Make the ticks punctual: 1 us of timer slack, prompt thread switches, no collections.

    SIGTERM ends the run in order; Ctrl-C is the orchestrator's to handle.
    """
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0)
    sys.setswitchinterval(0.0001)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Sampler:
    """The main thread: ticks and orders."""

    def __init__(self, settings: Settings, channel: Channel) -> None:
        self.settings = settings
        self.channel = channel
        self.trace = Trace(
            Path(settings.path), {"interval_s": settings.interval_s, **settings.meta}
        )
        self.library = Library()
        self.gpus, self.reason = find(self.library, settings)
        self.watch = Watch(settings, self.gpus, self.trace, channel)
        self.ending = False
        self.overran = False

    def run(self) -> None:
        """From ready to done."""
        signal.signal(signal.SIGTERM, self._terminate)
        self._introduce()
        self.cpu_before = time.process_time()
        start = clock.now()
        alone = host_interval(self.settings, with_gpu=False)
        self.ticks = Ticks(self.settings.interval_s if self.gpus else alone, start)
        self.slow = Every(self.settings.slow_interval_s, start)
        self.lane = Lane(self.watch.periodic(start))
        if self.gpus:
            self.lane.start()
        chores = start
        while not self.ending:
            self._tick()
            if clock.now() >= chores:
                self._chores()
                chores = clock.now() + CHORES_NS
            self._wait()
        self._finish()

    def _introduce(self) -> None:
        devices = [describe(gpu, self.library) for gpu in self.gpus]
        for device in devices:
            self.trace.put(device)
        rows = [
            {"uuid": d.uuid, "index": d.index, "name": d.name, "memory_total": d.memory_total,
             "driver": d.driver, **d.meta}
            for d in devices
        ]  # fmt: skip
        self.channel.send("ready", devices=rows, reason=self.reason)

    def _tick(self) -> None:
        """Take what is read at every tick. Kept short: it runs up to 1000 times a second."""
        now = clock.now()
        before = self.ticks.due
        missed = self.ticks.arrive(now)
        if missed:
            self._missed(missed, now - before)
        for gpu in self.gpus:
            gpu.sample(self.trace)

    def _missed(self, missed: int, span: int) -> None:
        cause = SLOW_READINGS if self.overran else "not scheduled"
        self.trace.put(Gap(t=0, missed=missed, span=span, cause=cause))

    def _chores(self) -> None:
        """Do what need not be done at every tick."""
        now = clock.now()
        if self.slow.come(now):
            for gpu in self.gpus:
                gpu.load(self.trace)
        if not self.gpus:
            self.lane.run_due(now)
        self.lane.check()
        self.trace.flush_due(now)
        while order := self.channel.receive():
            self._obey(order)
        self.ending = self.ending or self.channel.lost.is_set()

    def _wait(self) -> None:
        """Sleep until the next tick; if that is long, wake for orders and, at times, chores."""
        left = self.ticks.due - clock.now()
        self.overran = left <= 0
        while left > CHORES_NS and not self.ending:
            order = self.channel.receive(min(left, LONGEST_WAIT_NS) / NS)
            if order:
                self._obey(order)
            left = self.ticks.due - clock.now()
            if left > CHORES_NS:
                self._chores()
        if left > 0 and not self.ending:
            time.sleep(left / NS)

    def _obey(self, order: Message) -> None:
        kind = order["kind"]
        if kind == "mark":
            self.watch.note(order)
            self.lane.post(lambda: self._at_edge(order))
        elif kind == "state":
            self.lane.post(self._state)
        elif kind == "stop":
            self.ending = True

    def _at_edge(self, order: Message) -> None:
        self.watch.at_edge(order)
        if order.get("reply"):
            names = {name: order.get(name) for name in ("cell", "phase", "edge")}
            self.channel.send("marked", **names, t=clock.now())

    def _state(self) -> None:
        self.channel.send("state", devices=self.watch.state(), t=clock.now())

    def _finish(self) -> None:
        lost = self.channel.lost.is_set()
        ended = self.lane.stop(HURRY_S if lost else LAST_READINGS_S)
        if ended and not lost:
            self.lane.check()
            self.watch.last()
        account = self._account()
        self.trace.put(account)
        self.trace.close()
        self.library.close()
        fields = {name: getattr(account, name) for name in account.__struct_fields__}
        self.channel.send("done", **{k: v for k, v in fields.items() if k not in ("t", "why")})

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
