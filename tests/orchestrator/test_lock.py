"""One job at a time: who holds the lock is named, and a dead holder holds nothing."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from orchestrator import lock
from tests.compare.toy import ROOT
from traces.errors import Problem

HOLD = (
    "import sys, time; from orchestrator import lock\n"
    "with lock.held('the other job', sys.argv[1:]): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PAGEDBENCH_LOCKS", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


@pytest.fixture
def other():
    """Start a process that holds the locks of some GPUs, or of the machine."""
    started = []

    def start(*devices):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *devices], stdout=subprocess.PIPE, cwd=ROOT, text=True
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_the_holder_is_named(other):
    process = other()
    with pytest.raises(Problem) as refused, lock.held("mine"):
        pass
    assert f"pid {process.pid}" in str(refused.value)
    assert "the other job" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_killed_holder_holds_nothing(other):
    other().send_signal(signal.SIGKILL)
    with lock.held("mine", wait_s=5):
        pass


@pytest.mark.parametrize(
    ("theirs", "mine", "free"),
    [(["0"], ["1"], True), (["0"], ["0"], False), (["0", "1"], ["1"], False),
     ([], ["0"], False), (["0"], [], False)],
)  # fmt: skip
def test_gpus_are_held_one_by_one_and_the_machine_alone(other, theirs, mine, free):
    other(*theirs)
    if free:
        with lock.held("mine", mine):
            return
    with pytest.raises(Problem), lock.held("mine", mine):
        pass


def test_visible_devices_are_what_is_held(other, monkeypatch):
    other("GPU-1")
    monkeypatch.setattr(lock, "_any_gpu", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2")
    with lock.held("mine"):
        pass
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2,GPU-1")
    with pytest.raises(Problem, match="gpu-GPU-1 is in use"), lock.held("mine"):
        pass


@pytest.mark.parametrize("visible", ["", "-1", " "])
def test_who_may_use_no_gpu_has_the_machine(other, monkeypatch, visible):
    other("0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(Problem, match="host is in use"), lock.held("mine"):
        pass


def test_waiting_gets_it(other):
    process = other()
    os.kill(process.pid, signal.SIGSTOP)  # a holder that hangs holds it all the same
    begun = time.monotonic()
    with pytest.raises(Problem), lock.held("mine", wait_s=0.6):
        pass
    assert time.monotonic() - begun >= 0.6
    process.kill()
    with lock.held("mine", wait_s=10):
        pass


def test_whom_it_waits_for_is_told_once(other):
    process = other()
    told: list[str] = []
    with pytest.raises(Problem), lock.held("mine", wait_s=1.2, tell=told.append):
        pass
    assert len(told) == 1
    assert f"pid {process.pid} of" in told[0]


def test_a_gpu_named_twice_is_one():
    with lock.held("mine", ["0", " 0"]):
        pass


def test_what_a_process_holds_it_holds_for_its_children(other):
    child = "from orchestrator import lock\nwith lock.held('the child', []): print('held')"
    asked = [sys.executable, "-c", child]
    with lock.held("mine", ["0"]):
        assert subprocess.check_output(asked, cwd=ROOT, text=True) == "held\n"
    assert lock.HELD_BY not in os.environ
    process = other("0")
    environment = {**os.environ, lock.HELD_BY: str(process.pid)}
    done = subprocess.run(asked, cwd=ROOT, text=True, env=environment, capture_output=True)
    assert f"pid {process.pid}" in done.stderr


def test_locks_in_a_folder_that_cannot_be_written(folder, monkeypatch):
    """As on a read-only file system, or in another user's folder: to lock, reading is enough."""
    with lock.held("mine"):
        pass
    opened = os.open

    def read_only(path, flags, *more):
        if flags & os.O_ACCMODE != os.O_RDONLY and str(path).endswith(".lock"):
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", read_only)
    with lock.held("mine"):
        pass
    with (
        pytest.raises(Problem, match=r"Read-only .* another folder in PAGEDBENCH_LOCKS"),
        lock.held("mine", ["0"]),
    ):
        pass


def test_a_name_cannot_leave_the_folder(folder):
    with lock.held("mine", ["../../x"]):
        assert {path.name for path in folder.iterdir()} == {
            "pagedbench-host.lock", "pagedbench-gpu-.._.._x.lock"
        }  # fmt: skip


def test_a_link_is_not_followed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("elsewhere") / "precious"
    target.write_text("data")
    (folder / "pagedbench-host.lock").symlink_to(target)
    with pytest.raises(Problem, match="cannot be locked"), lock.held("mine"):
        pass
    assert target.read_text() == "data"
