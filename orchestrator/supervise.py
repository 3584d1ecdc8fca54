"""Start processes, talk to them, and make sure that they are gone: the only place that does.

A child is started with `multiprocess`, spawn context, in a session of its own, with an
allow-listed environment and a private pipe. Stopping is: ask, SIGTERM to the group, SIGKILL to
the group, then look whether anything of it is left, by session and by a mark in the environment
that every descendant inherits. Nothing is ever killed by name.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import multiprocess
from msgspec import Struct
from multiprocess import resource_tracker
from multiprocess.connection import wait

from orchestrator import git, log_file
from orchestrator.inheritance import environment, interrupts_blocked, main_module_hidden
from orchestrator.stopping import undisturbed
from orchestrator.survivors import survivors, wait_gone
from traces import control
from traces.errors import Problem
from traces.messages import Message, Stop

ASK_S, TERM_S, KILL_S = 10.0, 5.0, 5.0

_spawn = multiprocess.get_context("spawn")
_RUN = f"{os.getpid()}-{time.monotonic_ns()}"


class Child:
    """A process of ours: its pipe, its log, its session and everything it started."""

    def __init__(
        self, name: str, target: str, config: Struct, log: Path,
        variables: Mapping[str, str], interpreter: str | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.log = log
        self.mark = f"{_RUN}/{time.monotonic_ns()}-{name}"
        ours, theirs = _spawn.Pipe()
        self._pipe = ours
        self._process = _spawn.Process(
            target=control.enter, args=(target, config, theirs, str(log)), name=name
        )
        with environment({**os.environ, "PYTHONSAFEPATH": "1"}):
            resource_tracker.ensure_running()  # ours, not the child's: it must not carry its mark
        _spawn.set_executable(interpreter or sys.executable)
        marked = {**variables, control.MARK: self.mark}
        with environment(marked), main_module_hidden(), _path(interpreter):
            self._start()
        theirs.close()

    def _start(self) -> None:
        """Start it whole or not at all: half started it would complain on our stderr."""
        try:
            with undisturbed(), interrupts_blocked():
                self._process.start()
                self.pid: int = self._process.pid
        except KeyboardInterrupt:
            self.kill()
            raise

    def message(self, timeout: float, also: int | None = None) -> Message | None:
        """Return the next message, or None when none came in `timeout` seconds or it is gone.

        Readiness of the descriptor `also` ends the wait too.
        """
        if not self._pipe.closed and self._ready(timeout, also):
            try:
                message: Message = self._pipe.recv()
                return message
            except (EOFError, OSError):
                self._pipe.close()
        return None

    def _ready(self, timeout: float, also: int | None) -> bool:
        """Wait for the pipe; a child that dies wakes us, after which what it said is still read."""
        wait([self._pipe, self._process.sentinel, *([] if also is None else [also])], timeout)
        return bool(self._pipe.poll(0))

    def send(self, order: Message) -> None:
        """Send an order; a child that is gone is noticed by `alive`, not here."""
        with suppress(OSError, ValueError):
            self._pipe.send(order)

    @property
    def alive(self) -> bool:
        """Whether the process itself still runs."""
        return bool(self._process.is_alive())

    @property
    def exit(self) -> str:
        """How it ended, in words."""
        code = self._process.exitcode
        if code is None:
            return "still running"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}"

    def stop(self, ask_s: float = ASK_S) -> list[int]:
        """Make it and everything it started end; return the pids that would not (none, if well)."""
        self.send(Stop())
        self._process.join(ask_s)
        for number, patience in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            left = survivors(self.pid, self.mark)
            if not left and not self.alive:
                break
            self._signal(left, number)
            self._process.join(patience)
            wait_gone(left, patience)
        self._process.join(0)
        left = [] if self.alive else survivors(self.pid, self.mark)
        if not self._pipe.closed:
            self._pipe.close()
        return left or ([self.pid] if self.alive else [])

    def kill(self) -> list[int]:
        """End it at once."""
        self._signal(survivors(self.pid, self.mark), signal.SIGKILL)
        return self.stop(ask_s=0.5)

    def tail(self) -> list[str]:
        """Return the last lines of its log."""
        return log_file.tail(self.log)

    def _signal(self, pids: list[int], number: signal.Signals) -> None:
        """Signal the group, then whoever left the group."""
        with suppress(OSError):
            os.killpg(self.pid, number)
        for pid in pids:
            try:
                if os.getpgid(pid) != self.pid:
                    os.kill(pid, number)
            except OSError:
                continue


def command(
    argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None,
    log: Path | None = None, timeout: float | None = None,
) -> int:  # fmt: skip
    """Run a command in its own session; return its exit code, 124 when it passed its time.

    It is in no git repository but that of its folder (see `git`).

    Its output goes to `log` (appended), or to ours. Interrupted or late, its group is ended.
    """
    out = log.open("ab") if log else None
    try:
        process = subprocess.Popen(
            list(argv), cwd=cwd, env=git.environment() if env is None else env,
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            _end_group(process)
    finally:
        if out:
            out.close()


def start_user_command(
    argv: Sequence[str], stdout: IO[bytes] | None = None, stderr: IO[bytes] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a user's own command with our terminal, environment and group: Ctrl-C reaches it.

    Raises Problem.
    """
    try:
        return subprocess.Popen(list(argv), stdout=stdout, stderr=stderr)
    except OSError as error:
        raise Problem(f"{argv[0]}: cannot be started ({error.strerror})") from None


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    for number, patience in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def _path(interpreter: str | None) -> Iterator[None]:
    """Spawn hands our sys.path to the child: another interpreter needs its own, and our rooms."""
    before = sys.path[:]
    if interpreter:
        code = "import sys; print('\\n'.join(sys.path))"
        run = subprocess.run(
            [interpreter, "-P", "-c", code], capture_output=True, text=True, check=True
        )
        sys.path[:] = [str(Path(__file__).resolve().parents[1]), *run.stdout.split("\n")]
    try:
        yield
    finally:
        sys.path[:] = before
