"""One job at a time on a GPU: a kernel lock (flock) that dies with its holder, and names it.

A job holds the locks of its GPUs alone and the host's together with others; a job for the whole
machine (no CUDA_VISIBLE_DEVICES, or a CPU run) holds the host's alone. Name GPUs one way, by index
or by UUID: the lock compares names. The files stay when the locks are gone; they mean nothing by
themselves. In containers, mount one folder and name it in PAGEDBENCH_LOCKS.

It does not keep out programs that do not ask for it: a run looks at the device itself.
"""

import fcntl
import getpass
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from traces.errors import Problem

HOST = "host"
POLL_S = 0.5


class Holder(msgspec.Struct):
    """Who wrote itself into a lock's file."""

    pid: int
    user: str
    what: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} of {self.user}, {self.what}, since {self.since}"


def folder() -> Path:
    """Where the lock files are: the same for every user of the host."""
    if named := os.environ.get("PAGEDBENCH_LOCKS"):
        return Path(named)
    shared = Path("/run/lock")
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def gpus() -> list[str]:
    """The GPUs this process is confined to; none when it may use all."""
    return [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]


@contextmanager
def held(what: str, devices: Sequence[str] | None = None, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the locks of these GPUs (default: the ones visible; none: the machine).

    Raises Problem, naming the holder, when they are not to be had within `wait_s` seconds.
    """
    names = sorted(gpus() if devices is None else devices)
    end = time.monotonic() + wait_s
    with ExitStack() as stack:
        stack.enter_context(_one(HOST, bool(names), what, end))
        for name in names:
            stack.enter_context(_one(f"gpu-{name.strip()}", False, what, end))
        yield


@contextmanager
def _one(name: str, shared: bool, what: str, end: float) -> Iterator[None]:
    path = folder() / f"pagedbench-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.lock"
    fd, writable = _open(path)
    try:
        while not _taken(fd, shared):
            if time.monotonic() >= end:
                raise Problem(f"{name} is in use: {_holder(path)}; wait for it with --wait 2h")
            time.sleep(POLL_S)
        if writable:
            _sign(fd, what, shared)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock's file; another user's may be readable only, which is enough to lock it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), False
    except OSError as error:
        raise Problem(f"{path}: cannot be locked ({error.strerror})") from None
    if os.fstat(fd).st_uid == os.geteuid():
        os.fchmod(fd, 0o666)  # past the umask: other users should be able to sign too
    return fd, True


def _taken(fd: int, shared: bool) -> bool:
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(fd: int, what: str, shared: bool) -> None:
    user = getpass.getuser()
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    also = " (with others)" if shared else ""
    holder = Holder(pid=os.getpid(), user=user, what=what + also, since=since)
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)


def _holder(path: Path) -> str:
    try:
        return str(msgspec.json.decode(path.read_bytes(), type=Holder))
    except (OSError, msgspec.DecodeError):
        return "by a process that did not sign"
