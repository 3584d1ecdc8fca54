"""Control between the orchestrator and a process it started: orders over a private pipe.

The messages are those of traces/messages.py and of what it names. Data never travels here, and
nothing is ever parsed from stdout: the child's stdout and stderr go to a log file.

`enter` is what every child process runs first. It must stay importable without the
orchestrator, so that a measured process never holds orchestrator modules.
"""

import importlib
import os
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from traces.errors import Problem
from traces.messages import Failed, Hello, Message

MARK = "PAGEDBENCH_MARK"
"""Environment variable that a child and all its descendants carry: the run's id, "/", its own."""
PARENT_LOST_GRACE_S = 2.0


class Connection(Protocol):
    """The part of multiprocess.connection.Connection that is used here."""

    def send(self, obj: Message) -> None: ...
    def recv(self) -> Message: ...


class Channel:
    """The child's end of the pipe. A thread reads it, so that orders arrive while C code runs.

    When the orchestrator is gone (end of file), `lost` is set, and after a short grace every
    process of the run is killed, this one too: nothing outlives it, whatever it is doing.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.lost = threading.Event()
        threading.Thread(target=self._read, name="control", daemon=True).start()

    def send(self, message: Message) -> None:
        """Tell the orchestrator; a lost orchestrator is dealt with by the reading thread."""
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                self.lost.set()

    def receive(self, timeout: float | None = 0.0) -> Message | None:
        """Return the next order, or None when none came within `timeout` seconds (None: wait)."""
        try:
            return self._inbox.get(timeout is None or timeout > 0, timeout or None)
        except queue.Empty:
            return None

    def _read(self) -> None:
        try:
            while True:
                self._inbox.put(self._connection.recv())
        except (EOFError, OSError):
            self.lost.set()
        time.sleep(PARENT_LOST_GRACE_S)
        _end_run()


def enter(target: str, config: Struct, connection: Connection, log: str) -> None:
    """Run `target` ("module:function") as function(config, channel) in a session of its own."""
    os.setsid()
    _hear()
    channel = Channel(connection)
    try:
        _redirect(log)
    except OSError as error:  # nothing may be said on the stderr that is our parent's
        line = f"{log}: cannot be written ({error.strerror})"
        channel.send(Failed(error=Problem.__name__, message=line, status="failed"))
        os._exit(1)
    channel.send(Hello(pid=os.getpid(), session=os.getsid(0)))
    module, _, function = target.partition(":")
    try:
        getattr(importlib.import_module(module), function)(config, channel)
    except BaseException as error:
        with suppress(OSError):  # a full disk takes no log either
            traceback.print_exc()
        channel.send(describe(error))
        sys.exit(1)
    finally:
        if channel.lost.is_set():
            _end_run()


def _hear() -> None:
    """Unblock Ctrl-C, with which we are born blocked; one that waits was for our parent."""
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGINT, ours)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def describe(error: BaseException) -> Failed:
    """Say what went wrong: the error's type, one line of message, and "oom" where it is that."""
    text = f"{type(error).__name__}: {error}"
    oom = isinstance(error, MemoryError) or any(
        sign in text for sign in ("OutOfMemoryError", "out of memory", "Cannot allocate memory")
    )
    line = (str(error).strip().splitlines() or [""])[0]
    return Failed(
        error=type(error).__name__, message=line[:2000], status="oom" if oom else "failed"
    )


def _end_run() -> None:
    """Kill what is in a session of the run or carries its mark, and at last ourselves.

    Sessions too: an engine that sets its title writes over the environment that has the mark.
    """
    run = f"{MARK}={os.environ.get(MARK, '').partition('/')[0]}/".encode()
    sessions, marked = {os.getpid(): os.getsid(0)}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with suppress(OSError):
            sessions[pid] = os.getsid(pid)
            if run in entry.joinpath("environ").read_bytes():
                marked.add(pid)
    ours = {os.getsid(0)} | {pid for pid in marked if sessions[pid] == pid}
    for pid, session in sessions.items():
        if (session in ours or pid in marked) and pid != os.getpid():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _redirect(log: str) -> None:
    """Send stdout and stderr to the log file and detach stdin, for this process and its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, target)
    os.close(out)
    os.close(null)
