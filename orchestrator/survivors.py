"""Who is left of a child and of all that it started: by its session, or by the mark it carries."""

import os
import time

import psutil

from traces import control


def survivors(child: int, mark: str) -> list[int]:
    """Return live pids of the child's session, or with its mark; the dead but unreaped are gone."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        pid = process.pid
        if process.info["status"] == psutil.STATUS_ZOMBIE or pid == os.getpid():
            continue
        if pid == child or _session(pid) == child or _marked(process, mark):
            found.append(pid)
    return found


def wait_gone(pids: list[int], patience: float) -> None:
    """Wait until none of them runs, for so many seconds at most."""
    end = time.monotonic() + patience
    while time.monotonic() < end and any(_running(pid) for pid in pids):
        time.sleep(0.05)


def _running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(control.MARK) == mark)
    except (psutil.Error, OSError):
        return False
