"""What a user sees while it runs: the cell, its phase, memory now and at most, time gone.

A live line where there is a terminal, plain lines where there is none, nothing when quiet.
"""

import time

import psutil
from rich.console import Console
from rich.live import Live
from rich.table import Table

from orchestrator.estimate import words
from orchestrator.events import (
    CellBegins,
    CellEnded,
    Estimated,
    Event,
    Planned,
    RunInterrupted,
    WorkerStarted,
)
from orchestrator.sampler import SamplerProcess
from orchestrator.stopping import undisturbed
from traces.cell import About
from traces.messages import Phase, Progress
from traces.preparing import Note
from traces.units import size

LOOK_S = 1.0
SPARKS = "▁▂▃▄▅▆▇█"


class ProgressView:
    """Hears what the run says (`show`), and shows it."""

    def __init__(self, console: Console, quiet: bool) -> None:
        self.console = console
        self.quiet = quiet
        self.live = Live(console=console, refresh_per_second=4, transient=True) if (
            console.is_terminal and not quiet
        ) else None  # fmt: skip
        self.begun = time.monotonic()
        self.estimate: float | None = None
        self.cells, self.ended, self.cell, self.phase, self.counted = 0, 0, "", "", ""
        self.sampler: SamplerProcess | None = None
        self.pid: int | None = None
        self.memory: list[float] = []
        self.total: float | None = None
        self._looked = 0.0

    def __enter__(self) -> "ProgressView":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.live:
            with undisturbed():  # or the cursor stays hidden
                self.live.stop()

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        self._hear(event)
        if self.live:
            self._look()
            self.live.update(self._picture())

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self.console.print(line, highlight=False, markup=False)

    def _hear(self, event: Event) -> None:
        match event:
            case Planned():
                self.cells = len(event.cells)
                self.say(f"{self.cells} cells to run, into {event.folder}")
            case Estimated():
                self.estimate = event.seconds
                self.say(f"This will take about {words(event.seconds)}.")
            case CellBegins():
                self.cell, self.sampler = event.name, event.sampler
                self.memory, self.pid, self.phase = [], None, "waiting for a clean device"
                self._plain(f"{self.cell}: begins")
            case WorkerStarted():
                self.pid = event.pid
            case Phase(edge="begin"):
                self.phase, self.counted = event.name, ""
                self._plain(f"{self.cell or 'prepare'}: {self.phase}")
            case Note():
                self.say(event.text)
            case Progress():
                self.counted = f"{event.done} of {event.of} requests"
            case CellEnded():
                self._ended(event.about)
            case RunInterrupted():
                self.say("interrupted: keeping what there is")

    def _ended(self, about: About) -> None:
        self.ended += 1
        why = f" ({about.reason})" if about.reason else ""
        peak = f", at most {size(max(self.memory))}" if self.memory else ""
        self.say(f"{about.name}: {about.status}{why}, {about.seconds:.0f} s{peak}")
        self.cell = ""

    def _plain(self, line: str) -> None:
        if not self.live:
            self.say(f"[{time.monotonic() - self.begun:5.0f} s] {line}")

    def _look(self) -> None:
        """Ask for memory once a second: of the device where there is one, else of the process."""
        now = time.monotonic()
        if self.pid is None or now - self._looked < LOOK_S:
            return
        self._looked = now
        if self.sampler and self.sampler.devices:
            used = [d.used for d in self.sampler.state() or [] if d.used is not None]
            self.total = sum(d.memory_total or 0 for d in self.sampler.devices)
            if used:
                self.memory.append(sum(used))
        else:
            try:
                self.memory.append(psutil.Process(self.pid).memory_info().rss)
                self.total = psutil.virtual_memory().total
            except psutil.Error:
                return

    def _picture(self) -> Table:
        table = Table.grid(padding=(0, 1))
        gone = time.monotonic() - self.begun
        left = max(0.0, self.estimate - gone) if self.estimate else None
        clock = f"{gone:.0f} s gone" + (f", about {words(left)} left" if left is not None else "")
        table.add_row(f"cell {min(self.ended + 1, self.cells)} of {self.cells}", self.cell, clock)
        table.add_row("phase", f"{self.phase} {self.counted}", "")
        if self.memory and self.total:
            now, peak = self.memory[-1], max(self.memory)
            full = round(20 * now / self.total)
            bar = "█" * full + "░" * (20 - full)
            what = "device" if self.sampler and self.sampler.devices else "process"
            table.add_row(
                f"{what} memory", f"{bar} {size(now)} of {size(self.total)}",
                f"at most {size(peak)}  {_spark(self.memory[-40:])}",
            )  # fmt: skip
        return table


def _spark(values: list[float]) -> str:
    top = max(values) or 1
    return "".join(SPARKS[min(7, int(8 * value / top))] for value in values)
