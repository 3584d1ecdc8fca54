"""One cell: a clean device, a fresh worker process, its phases, its end, a clean device again.

Whatever happens to the worker becomes a status with evidence; nothing here raises for it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import environment
from orchestrator.sampler import Sampler
from orchestrator.stopping import undisturbed
from orchestrator.supervise import Child
from traces.owned import owned

CLEAN_WAIT_S = 20.0
CLEAN_SLACK = 32 << 20  # bytes a driver may keep for itself from one process to the next
POLL_S = 0.25
READ_S = 2.0  # for the sampler to read memory as a run ends: PSS takes milliseconds a GiB

Watch = Callable[[str, dict[str, Any]], None]


@dataclass
class Outcome:
    """How a cell ended, as cell.json holds it."""

    status: str = "interrupted"
    reason: str = "stopped by the user"
    truncated: str = ""
    log_tail: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    certificate: dict[str, Any] = field(default_factory=dict)
    pid: int | None = None
    seconds: float = 0.0


def run(
    outcome: Outcome, name: str, config: dict[str, Any], folder: Path, sampler: Sampler,
    timeout_s: float, watch: Watch, interpreter: str | None = None,
) -> None:  # fmt: skip
    """Run one cell to its end, and fill in the outcome.

    KeyboardInterrupt passes through, after the worker is gone. `watch(kind, fields)` is told of
    phases, progress and memory, for showing.
    """
    begun = time.monotonic()
    clean, outcome.certificate["before"] = certificate(sampler, config["clean_used"])
    if not clean:
        outcome.status, outcome.reason = "unclean", _why_unclean(outcome.certificate["before"])
        return
    used = [device["used"] for device in owned(outcome.certificate["before"]["devices"])]
    job = {k: v for k, v in config.items() if k != "clean_used"}
    job["baseline_used"] = sum(used) if used and None not in used else None
    worker = Child(
        name, "workers.loop:main", job, folder / "log.txt", environment.for_worker(), interpreter
    )
    outcome.pid = worker.pid
    watch("started", {"pid": worker.pid})
    try:
        _follow(worker, name, sampler, begun + timeout_s, outcome, watch)
    finally:
        with undisturbed():
            _end(worker, outcome)
        sampler.mark(name, "after", "begin", None)
        outcome.seconds = time.monotonic() - begun
    clean, outcome.certificate["after"] = certificate(sampler, config["clean_used"])
    if not clean:
        outcome.suspect.append(
            "device not clean afterwards: " + _why_unclean(outcome.certificate["after"])
        )
    if not sampler.alive and outcome.status == "ok":
        outcome.status, outcome.reason = "unsampled", f"the sampler died ({sampler.failure()})"


def _end(worker: Child, outcome: Outcome) -> None:
    """Make sure that the worker is gone, and keep what it said last."""
    left = worker.stop() if outcome.status == "ok" else worker.kill()
    if left:
        outcome.status, outcome.reason = "unclean", f"processes {left} would not end"
    outcome.log_tail = [] if outcome.status == "ok" else worker.tail()


def _follow(
    worker: Child, name: str, sampler: Sampler, end: float, outcome: Outcome, watch: Watch
) -> None:
    """Pass on what the worker says until it is done, failed, dead, or late."""
    while True:
        message = worker.message(min(POLL_S, max(0.0, end - time.monotonic())))
        if message is not None:
            if _heard(message, worker, name, sampler, outcome, watch):
                return
        elif not worker.alive:
            outcome.status, outcome.reason = "crashed", f"worker {worker.exit}"
            return
        elif time.monotonic() >= end:
            outcome.status, outcome.reason = "timeout", "did not end in the time it was given"
            return
        watch("tick", {})


def _heard(
    message: dict[str, Any], worker: Child, name: str, sampler: Sampler, outcome: Outcome,
    watch: Watch,
) -> bool:  # fmt: skip
    """Act on one message; return whether it was the last."""
    kind = message.pop("kind")
    if kind == "phase":
        ended = (message["name"], message["edge"]) == ("run", "end")
        sampler.mark(name, message["name"], message["edge"], worker.pid, READ_S if ended else 0.0)
        watch("phase", message)
        if ended:
            worker.send("go")  # to its teardown, which would free what is being read
    elif kind == "ready":
        worker.send("go")
    elif kind == "progress":
        watch("progress", message)
    elif kind == "done":
        outcome.status, outcome.reason, outcome.truncated = "ok", "", message["truncated"]
        return True
    elif kind == "failed":
        outcome.status = message["status"]
        outcome.reason = f"{message['error']}: {message['message']}"
        return True
    return False


def certificate(sampler: Sampler, clean_used: dict[str, int]) -> tuple[bool, dict[str, Any]]:
    """Wait, bounded, for devices without compute processes and memory back at `clean_used`.

    Returns whether that came, and the evidence: per device uuid, used bytes, pids, and the
    seconds waited. With no device there is nothing to be unclean; a sampler that does not answer
    certifies nothing.
    """
    begun = time.monotonic()
    while True:
        state = sampler.state()
        devices = state["devices"] if state else []
        clean = state is not None and all(_clean(device, clean_used) for device in devices)
        waited = time.monotonic() - begun
        if clean or waited > CLEAN_WAIT_S or not sampler.alive:
            return clean, {"devices": devices, "waited_s": round(waited, 3)}
        time.sleep(POLL_S)


def _clean(device: dict[str, Any], clean_used: dict[str, int]) -> bool:
    used, limit = device["used"], clean_used.get(device["uuid"])
    over = used is not None and limit is not None and used > limit + CLEAN_SLACK
    return not device["pids"] and not over


def _why_unclean(evidence: dict[str, Any]) -> str:
    if not evidence["devices"]:
        return "the sampler does not answer"
    parts = [
        f"{device['uuid']}: {device['used']} bytes used, processes "
        f"{[process['pid'] for process in device['pids']]}"
        for device in evidence["devices"]
    ]
    return f"after {evidence['waited_s']:g} s still in use: {'; '.join(parts)}"
