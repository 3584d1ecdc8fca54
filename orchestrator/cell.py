"""One cell: a clean device, a fresh worker process, its phases, its end, a clean device again.

Whatever happens to the worker becomes a status with evidence; nothing here raises for it.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from orchestrator import cgroup, environment
from orchestrator.events import Show, Tick, WorkerStarted
from orchestrator.sampler import SamplerProcess
from orchestrator.stopping import undisturbed
from orchestrator.supervise import Child
from traces.cell import About, DeviceState, Evidence
from traces.job import Job
from traces.messages import Done, Failed, Go, Message, Phase, Progress, Ready

CLEAN_WAIT_S = 20.0
CLEAN_SLACK = 32 << 20  # bytes a driver may keep for itself from one process to the next
POLL_S = 0.25
KILLED = "killed by SIGKILL"
READ_S = 2.0  # for the sampler to read memory as a run ends: PSS takes milliseconds a GiB


def run(
    about: About, job: Job, clean_used: Mapping[str, int], sampler: SamplerProcess,
    timeout_s: float, show: Show, interpreter: str | None = None,
) -> None:  # fmt: skip
    """Run one cell to its end, and fill in how it ended.

    `clean_used` is bytes in use by device before anything ran. KeyboardInterrupt passes through,
    after the worker is gone. `show` is told of phases and progress.
    """
    begun = time.monotonic()
    clean, before = evidence(sampler, clean_used)
    about.certificate.before = before
    if not clean:
        about.status, about.reason = "unclean", _why_unclean(before)
        return
    worker = Child(
        job.cell, "workers.loop:main", structs.replace(job, baseline_used=before.used),
        Path(job.folder, "log.txt"), environment.for_worker(), interpreter,
    )  # fmt: skip
    about.pid = worker.pid
    show(WorkerStarted(worker.pid))
    try:
        _follow(worker, sampler, begun + timeout_s, about, show)
    finally:
        with undisturbed():
            _end(worker, about)
        sampler.mark(job.cell, "after", "begin", None)
        about.seconds = time.monotonic() - begun
    clean, after = evidence(sampler, clean_used)
    about.certificate.after = after
    if not clean:
        about.suspect.append(f"device not clean afterwards: {_why_unclean(after)}")
    if not sampler.alive and about.status == "ok":
        about.status, about.reason = "unsampled", f"the sampler died ({sampler.failure()})"


def _end(worker: Child, about: About) -> None:
    """Make sure that the worker is gone, and keep what it said last."""
    left = worker.stop() if about.status == "ok" else worker.kill()
    if left:
        about.status, about.reason = "unclean", f"processes {left} would not end"
    about.log_tail = [] if about.status == "ok" else worker.tail()


def _follow(worker: Child, sampler: SamplerProcess, end: float, about: About, show: Show) -> None:
    """Pass on what the worker says until it is done, failed, dead, or late."""
    kills = cgroup.kills()
    while True:
        message = worker.message(min(POLL_S, max(0.0, end - time.monotonic())))
        if message is not None:
            if _heard(message, worker, sampler, about, show):
                return
        elif not worker.alive:
            about.status, about.reason = "crashed", f"worker {worker.exit}"
            if worker.exit == KILLED:
                about.reason += f", {cgroup.why_killed(kills)}"
            return
        elif time.monotonic() >= end:
            about.status, about.reason = "timeout", "did not end in the time it was given"
            return
        show(Tick())


def _heard(
    message: Message, worker: Child, sampler: SamplerProcess, about: About, show: Show
) -> bool:
    """Act on one message; return whether it was the last."""
    match message:
        case Phase(name="run", edge="end"):
            sampler.mark(worker.name, "run", "end", worker.pid, READ_S)
            show(message)
            worker.send(Go())  # to its teardown, which would free what is being read
        case Phase():
            sampler.mark(worker.name, message.name, message.edge, worker.pid)
            show(message)
        case Ready():
            worker.send(Go())
        case Progress():
            show(message)
        case Done():
            about.status, about.reason, about.truncated = "ok", "", message.truncated
        case Failed():
            about.status = message.status
            about.reason = f"{message.error}: {message.message}"
    return isinstance(message, Done | Failed)


def evidence(sampler: SamplerProcess, clean_used: Mapping[str, int]) -> tuple[bool, Evidence]:
    """Wait, bounded, for devices without compute processes and memory back at `clean_used`.

    Returns whether that came, and what was seen last. With no device there is nothing to be
    unclean; a sampler that does not answer certifies nothing.
    """
    begun = time.monotonic()
    while True:
        devices = sampler.state()
        clean = devices is not None and all(_clean(device, clean_used) for device in devices)
        waited = time.monotonic() - begun
        if clean or waited > CLEAN_WAIT_S or not sampler.alive:
            return clean, Evidence(devices=devices or [], waited_s=round(waited, 3))
        time.sleep(POLL_S)


def _clean(device: DeviceState, clean_used: Mapping[str, int]) -> bool:
    used, limit = device.used, clean_used.get(device.uuid)
    over = used is not None and limit is not None and used > limit + CLEAN_SLACK
    return not device.pids and not over


def _why_unclean(seen: Evidence) -> str:
    if not seen.devices:
        return "the sampler does not answer"
    parts = [
        f"{device.uuid}: {device.used} bytes used, processes "
        f"{[process.pid for process in device.pids or []]}"
        for device in seen.devices
    ]
    return f"after {seen.waited_s:g} s still in use: {'; '.join(parts)}"
