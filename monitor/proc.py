"""Readings from /proc: one process's memory, faults and time, its PSS, its environment, its kin.

Read directly: one `stat` costs some 8 us, a tenth of what a psutil object does for the same, and
these run beside a measured program. What is read ten times a second stays open, which halves it
again. Linux only, as NVML for this work is.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")

NO_ROLLUP = "this kernel has no /proc/PID/smaps_rollup"
NO_PERMISSION = "no permission to read /proc/PID/smaps_rollup"


class Stat(NamedTuple):
    """Of /proc/PID/stat what is used here; times and faults include waited-for children."""

    pid: int
    alive: bool
    parent: int
    session: int
    started: int
    minor_faults: int
    major_faults: int
    cpu_s: float
    rss: int


class KeptFile:
    """A file of /proc that stays open and is read anew each time. Raises OSError."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes in one call."""
        return os.pread(self._fd, size, 0)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        if hasattr(self, "_fd"):
            close(self._fd)


kept = cache(KeptFile)


class Process:
    """A process that is read again and again: never taken for a later one with its pid."""

    def __init__(self, known: Stat, keep_open: bool) -> None:
        self._known = known
        self._file: KeptFile | None = None
        self._statm: KeptFile | None = None
        if keep_open:
            with suppress(OSError):
                self._file = KeptFile(f"/proc/{known.pid}/stat")
                self._statm = KeptFile(f"/proc/{known.pid}/statm")

    def stat(self) -> Stat | None:
        """Read it; None when it is gone."""
        pid = self._known.pid
        try:
            found = _parsed(pid, self._file.read(2048)) if self._file else stat(pid)
        except OSError:
            return None
        return found if found and found.started == self._known.started else None

    def resident(self) -> int:
        """Read its resident bytes alone, for a fifth of what `stat` costs; 0 when it is gone."""
        if not self._statm:
            found = self.stat()
            return found.rss if found else 0
        try:
            return int(self._statm.read(64).split(None, 2)[1]) * PAGE
        except OSError:
            return 0


def slurp(path: str, size: int) -> bytes:
    """Read up to `size` bytes in one call: what the kernel makes up is consistent only so."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, size)
    finally:
        os.close(fd)


def stat(pid: int) -> Stat | None:
    """Read one process; None when it is gone. A zombie is there, but not alive."""
    try:
        return _parsed(pid, slurp(f"/proc/{pid}/stat", 2048))
    except OSError:
        return None


def _parsed(pid: int, line: bytes) -> Stat:
    f = line[line.rindex(b")") + 2 :].split()  # the name may hold spaces and parentheses
    return Stat(
        pid=pid,
        alive=f[0] not in (b"Z", b"X"),
        parent=int(f[1]),
        session=int(f[3]),
        started=int(f[19]),
        minor_faults=int(f[7]) + int(f[8]),
        major_faults=int(f[9]) + int(f[10]),
        cpu_s=(int(f[11]) + int(f[12]) + int(f[13]) + int(f[14])) / TICK,
        rss=int(f[21]) * PAGE,
    )


def pids() -> set[int]:
    """Return the pids of this namespace."""
    return {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 (speed)


def newest_pid() -> int:
    """Return the last pid or thread id the kernel gave out: it changes with every fork."""
    try:
        return int(kept("/proc/loadavg").read(128).rsplit(b" ", 1)[1])
    except (OSError, ValueError):
        return -1


def steal() -> float | None:
    """Return the seconds of CPU time that the hypervisor has given to others, of all processors.

    Dear: the kernel writes its whole table of interrupts for it, 9 us with 2 processors, and more
    with more.
    """
    try:
        return int(kept("/proc/stat").read(256).split(None, 9)[8]) / TICK
    except (OSError, ValueError, IndexError):
        return None


def switches(pid: int) -> int:
    """Return how often a process's main thread lost its processor against its will; 0 when gone."""
    try:
        text = slurp(f"/proc/{pid}/status", 4096)
    except OSError:
        return 0
    return int(text.rpartition(b"nonvoluntary_ctxt_switches:")[2] or 0)


def pss(pid: int) -> tuple[int, str | None]:
    """Return one process's proportional set size (0 when it has just ended), or (0, why not)."""
    try:
        text = slurp(f"/proc/{pid}/smaps_rollup", 4096)
    except PermissionError:
        return 0, NO_PERMISSION
    except FileNotFoundError:
        return 0, None if Path("/proc/self/smaps_rollup").exists() else NO_ROLLUP
    except ProcessLookupError:  # a zombie, or it ended between open and read
        return 0, None
    except OSError as error:
        return 0, f"cannot read /proc/PID/smaps_rollup: {error.strerror}"
    at = text.find(b"\nPss:")
    return (int(text[at + 5 :].split(None, 1)[0]) * 1024 if at >= 0 else 0), None


def environ(pid: int) -> list[bytes]:
    """Return the NAME=VALUE entries a process was started with; empty when not ours to read."""
    try:
        return slurp(f"/proc/{pid}/environ", 1 << 20).split(b"\0")
    except OSError:
        return []


def memory() -> tuple[int | None, int | None]:
    """Return the host's bytes in use (total less available) and total."""
    try:
        lines = kept("/proc/meminfo").read(256).split(b"\n")[:3]
    except OSError:
        return None, None
    found = {line.split(b":")[0]: int(line.split()[1]) * 1024 for line in lines}
    total, available = found.get(b"MemTotal"), found.get(b"MemAvailable")
    return (total - available if total and available else None), total
