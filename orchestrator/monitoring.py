"""Run or follow something under the sampler: a command, a process that runs, or the devices alone.

The command gets our terminal, environment and signals as if it were run by itself; only its exit
code is looked at. The sampler is ready before it starts and stops after it has ended, so that the
trace holds what was there before and after.
"""

import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil

from measure.watched import KernelAccount
from orchestrator import supervise
from orchestrator.sampler import SamplerProcess
from orchestrator.stopping import heard_by
from traces.errors import INTERRUPTED, INVALID, OK, TIMEOUT, Problem
from traces.records import Device
from traces.sampling import Readings, Settings

LOOK_S = 0.1
AROUND_S = 0.3  # watched before and after
PROGRESS_S = 0.25
PSS_S = 1.0
TERM_S = 5.0

ShowReadings = Callable[[Readings | None], None]


@dataclass(frozen=True)
class WatchRequest:
    """What to watch, how finely and how long. `gpus` None: those that CUDA shows."""

    command: tuple[str, ...] = ()
    pid: int | None = None
    gpus: tuple[str, ...] | None = None
    interval_s: float = 0.01
    duration_s: float | None = None
    stdout: IO[bytes] | None = None
    stderr: IO[bytes] | None = None


@dataclass
class Watched:
    """How it ended."""

    exit_code: int | None = None
    kernel: KernelAccount = field(default_factory=KernelAccount)
    code: int = OK
    trouble: str = ""
    devices: list[Device] = field(default_factory=list)
    no_devices: str = ""


class Signals:
    """Ctrl-C ends a watch; a command gets it from the terminal itself, and we wait for it.

    SIGTERM, a closed terminal, or a second Ctrl-C, ends the command too.
    """

    def __init__(self) -> None:
        self.interrupts, self.terminate = 0, False

    def hear(self, number: int, frame: object) -> None:
        """Note a signal."""
        self.interrupts += number == signal.SIGINT
        self.terminate |= number != signal.SIGINT or self.interrupts > 1

    @property
    def came(self) -> bool:
        """Whether we are to end."""
        return bool(self.interrupts or self.terminate)


def watch(request: WatchRequest, folder: Path, show: ShowReadings) -> Watched:
    """Watch to the end. `show` hears the sampler's readings, and None several times a second.

    Raises Problem.
    """
    settings = Settings(
        path=str(folder / "samples.jsonl"), interval_s=request.interval_s,
        progress_interval_s=PROGRESS_S, pss_interval_s=PSS_S,
        gpus=None if request.gpus is None else list(request.gpus),
    )  # fmt: skip
    with _ending(request.pid) as ending:
        sampler = SamplerProcess(settings, folder / "sampler.log")
        if not (request.command or request.pid or sampler.devices):
            sampler.stop()
            raise Problem(
                f"nothing to watch: no GPU ({sampler.no_devices}); give a command, or --pid"
            )
        return _watched(request, sampler, ending, show)


def _watched(
    request: WatchRequest, sampler: SamplerProcess, ending: int, show: ShowReadings
) -> Watched:
    watched = Watched(devices=sampler.devices, no_devices=sampler.no_devices)
    signals = Signals()
    with heard_by(signals.hear):
        try:
            time.sleep(AROUND_S)
            if signals.came:
                watched.code, watched.trouble = INTERRUPTED, "interrupted before it began"
            elif request.command:
                _run(request, sampler, signals, watched, show)
            else:
                _follow(request, sampler, signals, ending, show)
            time.sleep(AROUND_S)
        finally:
            if not sampler.alive:
                watched.trouble = f"the sampler died ({sampler.failure()}): the trace stops early"
                watched.code = watched.code or INVALID
            sampler.stop()
            show(None)
    return watched


def _run(
    request: WatchRequest, sampler: SamplerProcess, signals: Signals, watched: Watched,
    show: ShowReadings,
) -> None:  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = supervise.start_user_command(request.command, request.stdout, request.stderr)
    try:
        sampler.mark("monitor", "run", "begin", program.pid)
        deadline = _deadline(request)
        with _ending(program.pid) as ending:
            while program.poll() is None and not signals.terminate and time.monotonic() < deadline:
                _look(sampler, ending, show)
        late = program.poll() is None and not signals.terminate
    finally:
        killed = program.poll() is None and _end(program)
    sampler.mark("monitor", "run", "end", None)
    watched.exit_code = _shell_code(program.wait())
    watched.kernel = _account(before)
    watched.code = watched.exit_code
    if late:
        watched.code = TIMEOUT
        how = ", by SIGKILL: it did not heed SIGTERM" if killed else ""
        watched.trouble = f"ended after {request.duration_s:g} s, as asked{how}"


def _follow(
    request: WatchRequest, sampler: SamplerProcess, signals: Signals, ending: int,
    show: ShowReadings,
) -> None:  # fmt: skip
    """Watch a process of others until it ends, or the devices until told to stop."""
    sampler.mark("monitor", "run", "begin", request.pid)
    deadline = _deadline(request)
    while not (signals.came or select.select([ending], [], [], 0)[0]):
        if time.monotonic() >= deadline or not sampler.alive:
            break
        _look(sampler, ending, show)
    sampler.mark("monitor", "run", "end", None)


def _look(sampler: SamplerProcess, ending: int, show: ShowReadings) -> None:
    show(sampler.readings(LOOK_S, ending))
    if not sampler.alive:  # the command is not made to suffer for it
        select.select([ending], [], [], LOOK_S)


def _end(program: "subprocess.Popen[bytes]") -> bool:
    """End the command and all that descends from it, which a script would leave behind.

    Returns whether that took SIGKILL.
    """
    try:
        below = psutil.Process(program.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        program.send_signal(number)
        patience = time.monotonic() + TERM_S
        _, below = psutil.wait_procs(below, TERM_S)
        with suppress(subprocess.TimeoutExpired):
            program.wait(max(0.0, patience - time.monotonic()))
        if not below and program.poll() is not None:
            return number == signal.SIGKILL
    return True


def _account(before: resource.struct_rusage) -> KernelAccount:
    """Read the account of the children waited for since: the command's, before the sampler's end.

    The kernel starts the command's largest size at ours, which it was forked from, and tells only
    the largest of all children ever: None when it did not exceed these.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    not_its_own = max(before.ru_maxrss, _largest_kib())
    cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return KernelAccount(
        max_rss_of_one=used.ru_maxrss * 1024 if used.ru_maxrss > not_its_own else None,
        cpu_s=round(cpu_s, 3),
        major_faults=used.ru_majflt - before.ru_majflt,
        minor_faults=used.ru_minflt - before.ru_minflt,
    )


def _largest_kib() -> int:
    """Return the largest size of this process; getrusage would begin with its own parent's."""
    return int(in_status(os.getpid(), "VmHWM") or 0)


def in_status(pid: int, name: str) -> str | None:
    """Return the first word under this name in a process's status. Raises OSError."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f"{name}:")), None)


def _deadline(request: WatchRequest) -> float:
    return time.monotonic() + (request.duration_s or float("inf"))


def _shell_code(code: int) -> int:
    """As a shell says it: 128 and the signal's number."""
    return code if code >= 0 else 128 - code


@contextmanager
def _ending(pid: int | None) -> Iterator[int]:
    """Give a descriptor that is ready once this process has ended, never where there is none.

    Not by its pid: that may be given out again.
    """
    try:
        descriptors = os.pipe() if pid is None else (os.pidfd_open(pid),)
    except OSError:
        raise Problem(f"no process {pid} here") from None
    try:
        yield descriptors[0]
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
