"""Ctrl-C and SIGTERM: exit 130, what there is is kept, nothing survives, --resume goes on."""

import os
import pty
import signal
import threading
import time
from contextlib import suppress

import psutil
import pytest

from tests.orchestrator.bench import A_FIRST, finish, wait_for


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_mid_run(bench, number):
    suite = bench.suite({"label": "a"}, bench.holding(label="held"), seed=A_FIRST)
    process = bench.start("--suite", suite, "--out", bench.out)
    bench.in_mid_run("held.r0")
    process.send_signal(number)
    done = finish(process)

    assert done.returncode == 130
    assert bench.remains() == {}
    assert "Traceback" not in done.stderr
    assert f"not completed; go on with: pagedbench run --resume {bench.out}" in done.stderr
    assert "This run was not completed" in done.stdout
    assert not bench.result()["complete"]
    statuses = {name: (cell["status"], cell["reason"]) for name, cell in bench.cells().items()}
    assert statuses.pop("held.r0") == ("interrupted", "stopped by the user")
    assert statuses == {"a.r0": ("ok", "")}
    assert bench.cells()["held.r0"]["kv"]["steps"] > 30
    assert bench.about("held.r0")["pid"]
    assert (bench.out / "report.html").exists()

    bench.release()
    assert bench.resume().returncode == 0
    assert bench.result()["complete"]
    assert {cell["status"] for cell in bench.cells().values()} == {"ok"}


def test_impatience_does_not_cut_the_cleaning_short(bench):
    process = bench.start(
        "--suite", bench.suite(bench.holding(leave="session")), "--out", bench.out
    )
    bench.in_mid_run("stub0.r0")
    insist(process)
    done = finish(process)
    assert done.returncode in (130, -signal.SIGINT)  # both are 130 to a shell
    assert bench.remains() == {}
    assert bench.about("stub0.r0")["status"] == "interrupted"
    assert bench.about("stub0.r0")["log_tail"]  # read last, once the worker is gone


def test_at_a_terminal(bench):
    """There a thread draws the picture: it must not take the signal from the main one."""
    ours, theirs = pty.openpty()
    suite = bench.suite(bench.holding(leave="session"))
    process = bench.start("--suite", suite, "--out", bench.out, stderr=theirs)
    os.close(theirs)
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(iter(lambda: said(ours), b"")))
    reader.start()
    bench.in_mid_run("stub0.r0")
    wait_for(lambda: b"process memory" in b"".join(shown), "the picture")
    insist(process)
    process.communicate(timeout=30)
    reader.join()
    os.close(ours)

    text = b"".join(shown)
    assert process.returncode in (130, -signal.SIGINT)
    assert bench.remains() == {}
    assert b"cell 1 of 1" in text
    assert b"about" in text
    assert text.rfind(b"\x1b[?25h") > text.rfind(b"\x1b[?25l")  # the cursor is back
    assert bench.about("stub0.r0")["status"] == "interrupted"
    assert bench.about("stub0.r0")["log_tail"]  # read last, once the worker is gone


def insist(process):
    """Press Ctrl-C again and again."""
    for _ in range(20):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.01)


def said(terminal):
    """Return what the terminal shows next, nothing at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def test_while_it_prepares(bench):
    """Nothing is measured yet: the folder is one that --resume takes."""
    process = bench.start("--quiet", "--suite", bench.suite(), "--out", bench.out)
    while not (bench.out / "suite.json").exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    done = finish(process)
    assert (done.returncode, done.stderr) == (130, told(bench))
    assert bench.remains() == {}
    assert bench.resume().returncode == 0


def told(bench):
    """The one line, with the way on."""
    return f"pagedbench: interrupted; go on with: pagedbench run --resume {bench.out}\n"


INTERRUPTED_AS_IT_STARTS_A_CHILD = """
import os, signal, sys
from multiprocess import util
from orchestrator.cli import main

spawn = util.spawnv_passfds

def interrupted(path, *rest):
    pid = spawn(path, *rest)
    if b"spawn_main" in b"".join(os.fsencode(arg) for arg in rest[0]):
        os.kill(os.getpid(), signal.SIGINT)
    return pid

util.spawnv_passfds = interrupted
main()
"""


def test_while_it_starts_a_child(bench):
    """Before the child has been told what to do: it would complain about the pipe's end."""
    python = ("-c", INTERRUPTED_AS_IT_STARTS_A_CHILD)
    done = bench.run("--quiet", "--suite", bench.suite(), "--out", bench.out, python=python)
    assert (done.returncode, done.stderr) == (130, told(bench))
    assert bench.remains() == {}


def test_at_a_terminal_a_child_that_starts_is_not_meant(bench):
    """A terminal sends it to the whole group, of which a child is until it has its own session."""
    process = bench.start(
        "--quiet", "--suite", bench.suite(), "--out", bench.out, start_new_session=True
    )
    wait_for(lambda: newborn(process.pid), "a child in our session")
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert (done.returncode, done.stderr) == (130, told(bench))
    assert bench.remains() == {}


def newborn(pid):
    """Whether a child that multiprocess spawned is still in the session of its parent."""
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if "spawn_main" in " ".join(child.cmdline()) and os.getsid(child.pid) == pid:
                return True
    return False


def test_under_nohup_a_closed_terminal_is_no_reason_to_stop(bench):
    process = bench.start(
        "--quiet", "--suite", bench.suite(bench.holding()), "--out", bench.out,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )  # fmt: skip
    bench.in_mid_run("stub0.r0")
    os.kill(process.pid, signal.SIGHUP)
    bench.release()
    assert finish(process).returncode == 0
