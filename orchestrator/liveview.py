"""What `pagedbench monitor` shows as it watches: a screen, the records themselves, or nothing."""

import os
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from traces.sampling import Readings
from traces.units import size

BAR = 24
SILENT_S = 1.0  # later than it should be, a reading is no longer of now


class View:
    """Hears the sampler's readings, and None in between."""

    def show(self, readings: Readings | None) -> None:
        """Take in what is new."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Leave the terminal as it was."""


class Nothing(View):
    """Shows nothing."""


class Records(View):
    """Copies the trace's lines to a stream as they reach the file, whole lines only.

    A reader that has gone away, or a full disk behind it, is no reason to stop watching.
    """

    def __init__(self, trace: Path, out: IO[bytes]) -> None:
        self._trace, self._out = trace, out
        self._at = 0
        self._gone = False

    def show(self, readings: Readings | None) -> None:
        if self._gone or not self._trace.exists():
            return
        with self._trace.open("rb") as file:
            file.seek(self._at)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        try:
            self._out.write(whole)
            self._out.flush()
        except OSError as error:
            self._gone = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
            if not isinstance(error, BrokenPipeError):
                click.echo(f"pagedbench: stdout: {error.strerror}: see {self._trace}", err=True)


class Screen(View):
    """A few lines that stay in place: memory now and at most, of each GPU and of the tree."""

    def __init__(self, console: Console, interval_s: float) -> None:
        self._patience = interval_s + SILENT_S
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._begun = time.monotonic()
        self._most: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, readings: Readings | None) -> None:
        if readings:
            self._live.update(self._picture(readings))

    def _picture(self, readings: Readings) -> Table:
        table = Table.grid(padding=(0, 2))
        host = readings.host
        table.add_row(f"{time.monotonic() - self._begun:.0f} s", "now", "at most", "")
        for device in readings.devices:
            util, power = device.gpu_util, device.power_w
            more = [f"{util} %"] if util is not None else []
            more += [f"{power:.0f} W"] if power is not None else []
            name = device.uuid[:12]
            self._most[name] = max(device.highest or 0, self._most.get(name, 0))
            if device.why or device.silent_s > self._patience:
                why = device.why or f"no reading for {device.silent_s:.0f} s"
                table.add_row(name, why, size(self._most[name]))
            else:
                self._row(table, name, device.used, device.total, ", ".join(more))
        processes = f"{host.processes} processes" if host.rss is not None else ""
        self._row(table, "process tree", host.rss, host.host_total, processes)
        self._row(table, "host", host.host_used, host.host_total, "")
        return table

    def _row(self, table: Table, name: str, now: int | None, total: int | None, more: str) -> None:
        if now is None:
            return
        most = self._most[name] = max(now, self._most.get(name, 0))
        full = round(BAR * now / total) if total else 0
        bar = f"{'█' * full}{'░' * (BAR - full)} " if total else ""
        table.add_row(name, f"{bar}{size(now)}", size(most), more)
