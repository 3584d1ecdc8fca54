"""`kill -9` in mid-run, of each process in turn: nothing is lost, nothing survives, it goes on."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.orchestrator.bench import A_FIRST, finish, wait_for
from traces.reader import Damage, read
from traces.records import End, Header, Host, Kv, Phase


@pytest.fixture
def held(bench):
    """A run of three cells, of which the second stands still."""
    held = bench.holding(label="held")
    suite = bench.suite({"label": "a"}, held, {"label": "c"}, seed=A_FIRST)
    process = bench.start("--quiet", "--out", bench.out, "--suite", suite)
    bench.process = process
    bench.in_mid_run("held.r0")
    yield bench
    process.kill()
    process.communicate()


def test_worker(held):
    os.kill(held.in_mid_run("held.r0"), signal.SIGKILL)
    done = finish(held.process)

    assert done.returncode == 4
    assert {name: cell["status"] for name, cell in held.cells().items()} == {
        "a.r0": "ok", "held.r0": "crashed", "c.r0": "ok",
    }  # fmt: skip
    assert "SIGKILL" in held.cells()["held.r0"]["reason"]
    assert readable(held, "held.r0")
    assert held.gone()

    held.release()
    assert completes(held)


def test_sampler(held):
    os.kill(held.sampler_pid(), signal.SIGKILL)
    held.release()
    done = finish(held.process)

    assert done.returncode == 4
    held_cell = held.cells()["held.r0"]
    assert (held_cell["status"], held_cell["requests_run"]) == ("unsampled", 2)
    assert "SIGKILL" in held_cell["reason"]
    assert "device not clean afterwards: the sampler does not answer" in held_cell["suspect"]
    others = [cell["status"] for name, cell in held.cells().items() if name != "held.r0"]
    assert others == ["ok", "ok"]
    first, second = (list(read(held.out / name)) for name in ("samples.jsonl", "samples.2.jsonl"))
    assert len(first) > 2
    assert not isinstance(first[-1], End)
    assert isinstance(second[-1], End)
    assert held.gone()
    assert completes(held)


def test_a_sampler_that_is_late_is_waited_for(held):
    """What it reads as the run ends must still be there."""
    os.kill(held.sampler_pid(), signal.SIGSTOP)
    try:
        held.release()
        wait_for(lambda: "run.end" in edges(held), "the end of the run")
        time.sleep(0.3)
        assert "teardown.begin" not in edges(held)
    finally:
        os.kill(held.sampler_pid(), signal.SIGCONT)  # stopped, it would outlive the test
    done = finish(held.process)

    assert done.returncode == 0
    begin, end = edges(held)["run.end"], edges(held)["teardown.begin"]
    samples = read(held.out / "samples.jsonl")
    assert [r for r in samples if isinstance(r, Host) and r.pss and begin < r.t < end]


def edges(held):
    """When the phases of the held cell began and ended, as far as is known."""
    phases = [r for r in held.trace("held.r0") if isinstance(r, Phase)]
    return {f"{phase.name}.{phase.edge}": phase.t for phase in phases}


def test_orchestrator(held):
    worker = held.in_mid_run("held.r0")
    held.process.kill()
    held.process.wait()

    wait_for(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end")
    assert held.gone()
    assert readable(held, "held.r0")
    assert isinstance(list(read(held.out / "samples.jsonl"))[-1], End)
    assert not held.result()["complete"]
    assert not (held.out / "cells" / "held.r0" / "cell.json").exists()

    held.release()
    before = {name: held.about(name)["pid"] for name in finished(held)}
    assert completes(held)
    assert {name: held.about(name)["pid"] for name in before} == before  # not run again
    assert (held.out / "cells" / "held.r0.a2" / "cell.json").exists()


@pytest.mark.parametrize("leave", ["session", "group", "nameless"])
def test_orchestrator_when_the_worker_has_left_processes_behind(bench, leave):
    suite = bench.suite(bench.holding(leave=leave))
    process = bench.start("--quiet", "--out", bench.out, "--suite", suite)
    bench.in_mid_run("stub0.r0")
    process.kill()
    process.wait()
    assert bench.gone()
    process.communicate()


@pytest.mark.parametrize("options", [{}, {"leave": "nameless"}])
def test_orchestrator_while_the_worker_hangs_and_cannot_hear(bench, options):
    """The worker's own thread that watches the pipe is stopped, too: the sampler ends it."""
    suite = bench.suite(bench.holding(**options))
    process = bench.start("--quiet", "--out", bench.out, "--suite", suite)
    os.kill(bench.in_mid_run("stub0.r0"), signal.SIGSTOP)
    process.kill()
    process.wait()
    assert bench.gone()
    process.communicate()


def readable(bench, cell):
    damage = Damage()
    records = list(read(bench.out / "cells" / cell / "worker.jsonl", damage))
    assert isinstance(records[0], Header)
    assert not damage.bad
    phases = [(r.name, r.edge) for r in records if isinstance(r, Phase)]
    return phases[-1] == ("run", "begin") and sum(isinstance(r, Kv) for r in records) > 30


def finished(bench):
    return [path.parent.name for path in bench.out.glob("cells/*/cell.json")]


def completes(bench):
    done = bench.resume()
    assert done.returncode == 0, done.stderr
    assert bench.result()["complete"]
    assert {cell["status"] for cell in bench.cells().values()} == {"ok"}
    return True
