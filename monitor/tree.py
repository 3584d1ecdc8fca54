"""The watched process tree: who belongs to it, and what it holds.

A process belongs when it descends from the root, is in the session that the root leads, or is
younger than the root and carries the same marker in its environment (it left family and session).
Whoever belonged once belongs for life: orphans change parent, not membership. New members are
looked for only when the kernel has given out a pid since the last look, and only among the new.
Several threads may ask.

PSS (each shared page divided among those who share it) is what a tree really holds; summed RSS
counts shared pages once per process. PSS is dear (the kernel walks the page tables, milliseconds
per GiB, under the process's own memory lock), so it is a call of its own.
"""

import os
import threading
from typing import NamedTuple

from monitor import proc
from monitor.proc import Process, Stat

KEPT_OPEN = 256  # members, two files each: the usual limit is 1024


class Use(NamedTuple):
    """What a tree holds and has spent."""

    rss: int
    processes: int
    cpu_s: float
    major_faults: int
    minor_faults: int


class Tree:
    """The process tree under `root`. `pids` are its members as of the last reading."""

    def __init__(self, root: int, marker: str | None = None) -> None:
        self.root = root
        self._marker = _entry(root, marker) if marker else None
        self._members: dict[int, Process] = {}
        first = proc.stat(root)
        self._began = first.started if first else None
        if first:
            self._join(first)
        self._strangers: set[int] = set()
        self._newest = -1
        self._own_session = os.getsid(0)
        self._lock = threading.Lock()

    @property
    def pids(self) -> set[int]:
        """Members at the last reading."""
        return set(self._members)

    def read(self) -> Use | None:
        """Read the whole tree now; None when none of it is left."""
        with self._lock:
            return self._read()

    def _read(self) -> Use | None:
        newest = proc.newest_pid()
        if newest != self._newest or newest < 0:
            self._newest = newest
            self._search()
        stats = [s for member in self._members.values() if (s := member.stat()) and s.alive]
        if len(stats) < len(self._members):
            self._members = {s.pid: self._members[s.pid] for s in stats}
        if not stats:
            return None
        return Use(
            rss=sum(s.rss for s in stats),
            processes=len(stats),
            cpu_s=round(sum(s.cpu_s for s in stats), 2),
            major_faults=sum(s.major_faults for s in stats),
            minor_faults=sum(s.minor_faults for s in stats),
        )

    def resident(self) -> int | None:
        """Read the resident bytes of the members at the last reading; None when there are none."""
        return sum(member.resident() for member in list(self._members.values())) or None

    def switches(self) -> int:
        """Return how often the tree's main threads lost their processors against their will."""
        return sum(proc.switches(pid) for pid in self.pids)

    def pss(self) -> tuple[int | None, str | None]:
        """Return the tree's proportional set size, or why it cannot be had."""
        if not self._members:
            return None, "the process tree is gone"
        sizes = [proc.pss(pid) for pid in self.pids]
        trouble = next((why for _, why in sizes if why), None)
        return (None, trouble) if trouble else (sum(size for size, _ in sizes), None)

    def _search(self) -> None:
        if self._began is None:
            return
        present = proc.pids()
        self._strangers &= present  # so that a pid given out again is looked at again
        fresh = present - self._strangers - self._members.keys() - {self.root}
        unknown = [s for pid in fresh if (s := proc.stat(pid))]
        young = [s for s in unknown if s.started >= self._began]
        ours = {s.pid for s in young if s.session == self.root or self._is_marked(s)}
        kin: set[int] = set(self._members)
        while True:  # then their children, and theirs
            kin |= ours
            ours = {s.pid for s in young if s.parent in kin} - kin
            if not ours:
                break
        for s in young:
            if s.pid in kin:
                self._join(s)
        self._strangers |= fresh - self._members.keys()

    def _join(self, s: Stat) -> None:
        self._members[s.pid] = Process(s, keep_open=len(self._members) < KEPT_OPEN)

    def _is_marked(self, s: Stat) -> bool:
        """Say whether it was started with the root's marker, the sampler's own session aside."""
        if self._marker is None or s.session == self._own_session:
            return False
        return self._marker in proc.environ(s.pid)


def _entry(root: int, marker: str) -> bytes | None:
    """Return the root's own NAME=VALUE for this name: its descendants inherit it."""
    name = marker.encode() + b"="
    return next((entry for entry in proc.environ(root) if entry.startswith(name)), None)
