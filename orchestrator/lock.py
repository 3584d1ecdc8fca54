"""One job at a time on a GPU: a kernel lock (flock) that dies with its holder, and names it.

A job holds the locks of its GPUs alone and the host's together with others; a job for the whole
machine (no CUDA_VISIBLE_DEVICES, or a CPU run) holds the host's alone. Name GPUs one way, by index
or by UUID: the lock compares names. The files stay when the locks are gone; they mean nothing by
themselves. In containers, mount one folder and name it in PAGEDBENCH_LOCKS.

A process that holds locks holds them for those it starts: a run within a nightly asks for nothing.

It does not keep out programs that do not ask for it: a run looks at the device itself.
"""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec
import psutil

from orchestrator import home
from traces.errors import Problem

Tell = Callable[[str], None]

HOST = "host"
HELD_BY = "PAGEDBENCH_HELD_BY"  # in the environment of a holder's children: its process id
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
    """The GPUs this process is confined to; none when it may use all, or none (as -1 says).

    None too where there is no GPU: a run is then on the CPU, of which there is one.
    """
    if not _any_gpu():
        return []
    names = map(str.strip, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
    return [name for name in names if name and not name.startswith("-")]


def _any_gpu() -> bool:
    """Whether a GPU's driver is here; natively, or in WSL."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


@contextmanager
def held(
    what: str,
    devices: Sequence[str] | None = None,
    wait_s: float = 0.0,
    tell: Tell | None = None,
) -> Iterator[None]:
    """Hold the locks of these GPUs (default: the ones visible; none: the machine).

    `tell` hears whom it waits for. Raises Problem, naming the holder, when the locks are not to be
    had within `wait_s` seconds.
    """
    if _held_for_us():
        yield
        return
    names = sorted({name.strip() for name in (gpus() if devices is None else devices)})
    end = time.monotonic() + wait_s
    with ExitStack() as stack:
        stack.enter_context(_one(HOST, bool(names), what, end, tell))
        for name in names:
            stack.enter_context(_one(f"gpu-{name}", False, what, end, tell))
        os.environ[HELD_BY] = str(os.getpid())
        stack.callback(os.environ.pop, HELD_BY, None)
        yield


def _held_for_us() -> bool:
    """Say whether the process that started us, however far up, holds the locks while we run.

    A number alone could be an old one, left in some environment. A process that is still above us
    has not ended, and it sets the number only while it holds.
    """
    with suppress(psutil.Error):
        above = (process.pid for process in psutil.Process().parents())
        return os.environ.get(HELD_BY, "") in map(str, above)
    return False


@contextmanager
def _one(name: str, shared: bool, what: str, end: float, tell: Tell | None) -> Iterator[None]:
    path = folder() / f"pagedbench-{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.lock"
    fd, writable = _open(path)
    try:
        while not _taken(fd, shared):
            if time.monotonic() >= end:
                raise Problem(f"{name} is in use: {_holder(path)}; wait for it with --wait 2h")
            if tell:
                tell(f"{name} is in use: {_holder(path)}; waiting")
                tell = None
            time.sleep(POLL_S)
        if writable:
            _sign(fd, what, shared)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock's file, and say whether it can be signed; to lock it, reading is enough.

    In a folder for everybody, kernels refuse O_CREAT for a file of another user that they would
    open without; and the folder may be mounted read-only.
    """
    always = os.O_NOFOLLOW | os.O_CLOEXEC
    reason: OSError | None = None
    for mode in (os.O_RDWR | os.O_CREAT, os.O_RDWR, os.O_RDONLY):
        try:
            fd = os.open(path, mode | always, 0o666)
        except OSError as error:
            reason = reason or error
            continue
        if os.fstat(fd).st_uid == os.geteuid() and mode != os.O_RDONLY:
            os.fchmod(fd, 0o666)  # past the umask: other users should be able to sign too
        return fd, mode != os.O_RDONLY
    said = reason.strerror if reason else "no reason given"
    raise Problem(f"{path}: cannot be locked ({said}): name another folder in PAGEDBENCH_LOCKS")


def _taken(fd: int, shared: bool) -> bool:
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(fd: int, what: str, shared: bool) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    also = " (with others)" if shared else ""
    holder = Holder(pid=os.getpid(), user=home.user(), what=what + also, since=since)
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)


def _holder(path: Path) -> str:
    try:
        return str(msgspec.json.decode(path.read_bytes(), type=Holder))
    except (OSError, msgspec.DecodeError):
        return "by a process that did not sign"
