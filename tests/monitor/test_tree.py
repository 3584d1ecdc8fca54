"""A tree is the root, its descendants, those of its session, and those that left with its mark."""

import errno
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from monitor import proc
from monitor import tree as trees

SLEEP = "import time; time.sleep(60)"
MARK = "PAGEDBENCH_TEST_MARK"


Tree: Any = trees.Tree  # its answers may be None: here that is a failure like another
stat: Any = proc.stat


def wait_for(condition, patience=10.0):
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.fixture
def start():
    """Start Python in a session of its own; all that carries its mark ends with the test."""
    started = []
    mark = f"{os.getpid()}-{time.monotonic_ns()}"

    def start(code, **options):
        process: Any = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, MARK: mark},
            stdout=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for pid in proc.pids():
        if f"{MARK}={mark}".encode() in proc.environ(pid):
            os.kill(pid, signal.SIGKILL)
    for process in started:
        process.wait()
        process.stdout.close()


def test_children_that_start_later_belong(start):
    root = start(
        "import subprocess, sys\n"
        "sys.stdin.read(1)\n"
        f"p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}])\n"
        "print(p.pid, flush=True); p.wait()",
        stdin=subprocess.PIPE,
    )
    tree = Tree(root.pid)
    assert tree.read().processes == 1
    root.stdin.write("x")
    root.stdin.close()
    child = int(root.stdout.readline())
    assert wait_for(tree.read).processes == 2
    assert tree.pids == {root.pid, child}


def test_an_orphan_of_the_session_belongs(start):
    root = start(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0: print(os.getpid(), flush=True); time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait(); time.sleep(60)",
        start_new_session=True,
    )
    orphan = int(root.stdout.readline())
    wait_for(lambda: stat(orphan).parent != root.pid)
    tree = Tree(root.pid)
    tree.read()
    assert orphan in tree.pids


DAEMON = (
    "import os, subprocess, sys, time\n"
    "if os.fork() == 0:\n"
    "    p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
    " start_new_session=True)\n"
    "    print(p.pid, flush=True); os._exit(0)\n"
    "os.wait(); time.sleep(60)"
)


def test_a_daemon_that_left_the_session_belongs_by_its_mark(start):
    root = start(DAEMON, start_new_session=True)
    daemon = int(root.stdout.readline())
    wait_for(lambda: proc.environ(daemon) and stat(daemon).parent not in (0, root.pid))
    tree = Tree(root.pid, MARK)
    tree.read()
    assert daemon in tree.pids


def test_one_who_shares_a_session_that_the_root_does_not_lead_does_not_belong(start):
    root, other = start(SLEEP), start(SLEEP)
    tree = Tree(root.pid)
    tree.read()
    assert root.pid in tree.pids
    assert not {other.pid, os.getpid()} & tree.pids


def test_cpu_time_and_faults_of_ended_children_stay_counted(start):
    root = start(
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, '-c', 'for i in range(6_000_000): pass'])\n"
        "print('x', flush=True); time.sleep(60)"
    )
    root.stdout.readline()
    use = Tree(root.pid).read()
    assert use.processes == 1
    assert use.cpu_s >= 0.1


def test_a_pid_given_out_again_is_not_the_process_that_had_it(start):
    root = start("pass")
    tree = Tree(root.pid)
    root.wait()
    for _ in range(100):
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(root.pid - 1))
        except OSError:
            pytest.skip("not permitted to choose a pid here")
        other = start(SLEEP)
        if other.pid == root.pid:
            break
    assert other.pid == root.pid
    assert tree.read() is None
    assert tree.read() is None


def test_more_members_than_files_may_be_kept_open(start, monkeypatch):
    monkeypatch.setattr(trees, "KEPT_OPEN", 2)
    root = start(
        "import subprocess, sys, time\n"
        "for _ in range(5): subprocess.Popen(['sleep', '60'])\n"
        "print('x', flush=True); time.sleep(60)"
    )
    root.stdout.readline()
    tree = Tree(root.pid)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert tree.read().processes == 6
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3
    root.kill()
    root.wait()
    assert tree.read().processes == 5


def test_pss_without_a_file_descriptor_is_none_with_the_reason(start, monkeypatch):
    def refuse(path, size):
        raise OSError(errno.EMFILE, "Too many open files")

    tree = Tree(start(SLEEP).pid)
    with monkeypatch.context() as limited:
        limited.setattr(proc, "slurp", refuse)
        size, why = tree.pss()
    assert size is None
    assert "Too many open files" in why


def test_a_root_that_nobody_waits_for_is_gone_all_the_same(start):
    root = start("pass")
    tree = Tree(root.pid)
    wait_for(lambda: not stat(root.pid).alive)
    assert tree.read() is None


def test_a_tree_that_is_gone_is_none_not_zero(start):
    root = start("pass")
    root.wait()
    tree = Tree(root.pid)
    assert tree.read() is None
    assert tree.pss() == (None, "the process tree is gone")


def test_pss_counts_shared_pages_once_and_rss_every_time(start):
    size = 64 << 20
    root = start(
        "import mmap, os, time\n"
        f"m = mmap.mmap(-1, {size}); m[:] = b'x' * {size}\n"
        "pids = []\n"
        "for _ in range(3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        f"        sum(m[i] for i in range(0, {size}, 4096))\n"
        "        print('x', flush=True); time.sleep(60)\n"
        "time.sleep(60)"
    )
    for _ in range(3):
        root.stdout.readline()
    tree = Tree(root.pid)
    use = tree.read()
    pss, why = tree.pss()
    assert why is None
    assert use.processes == 4
    assert use.rss > 4 * size
    assert size < pss < 2 * size


def test_pss_of_what_we_may_not_read_is_none_with_the_reason(monkeypatch):
    def refuse(path, size):
        raise PermissionError

    tree = Tree(os.getpid())
    tree.read()
    monkeypatch.setattr(proc, "slurp", refuse)
    assert tree.pss() == (None, proc.NO_PERMISSION)


def test_a_name_with_spaces_and_parentheses_is_no_obstacle(start):
    root = start(
        "import ctypes, time\n"
        "ctypes.CDLL(None).prctl(15, b') 1 (a b) Z', 0, 0, 0)\n"
        "print('x', flush=True); time.sleep(60)"
    )
    root.stdout.readline()
    assert stat(root.pid).parent == os.getpid()


def test_resident_memory_is_the_kernels_own_figure():
    held = mmap.mmap(-1, 32 << 20)
    held[:] = b"x" * len(held)
    rollup = proc.slurp("/proc/self/smaps_rollup", 4096)
    exact = int(rollup.split(b"Rss:")[1].split()[0]) * 1024
    assert stat(os.getpid()).rss == pytest.approx(exact, rel=0.1)
