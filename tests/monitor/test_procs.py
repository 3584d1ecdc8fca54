"""Whose bytes they are: the tree's, a stranger's, or not to be known and then labelled so."""

import os
import subprocess
import sys
from typing import Any, cast

import pytest

from monitor import procs
from monitor.gpu import Gpu
from monitor.tree import Tree
from tests.monitor.double import GIB, A, Sampling
from traces.records import Procs

EMPTY = f"gpu {A} H100 {80 * GIB} {GIB} 0"
GROWN = f"gpu {A} H100 {80 * GIB} {3 * GIB} 0"
NOBODY = 4_190_000  # no such pid here: as one of another pid namespace


@pytest.fixture
def worker():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def seen(driver, tmp_path, worker):
    """Return what is recorded after the tree began on an empty device and then these came."""

    def seen(*then, before=()):
        driver.write(EMPTY, *before)
        with Sampling(tmp_path, driver, interval_s=0.01, procs_interval_s=100) as sampling:
            sampling.wait("watching")
            sampling.mark("load", "begin", worker.pid)
            driver.write(GROWN, *then)
            sampling.until(lambda s: any(getattr(r, "used", 0) == 3 * GIB for r in s.records()))
            sampling.mark("load", "end", worker.pid)
            sampling.stop()
        return sampling.of(Procs)[-1]

    return seen


def test_the_trees_bytes_are_summed_and_strangers_named(seen, worker):
    stranger = os.getppid()
    record = seen(f"proc {A} {worker.pid} {2 * GIB}", f"proc {A} {stranger} 77")
    assert record.pids == {str(worker.pid): 2 * GIB, str(stranger): 77}
    assert (record.ours, record.foreign, record.why) == (2 * GIB, [stranger], None)


def test_children_of_the_root_are_ours(driver, tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(p.pid, flush=True); p.wait()"
    )
    root: Any = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(root.stdout.readline())
    driver.write(EMPTY, f"proc {A} {root.pid} 5", f"proc {A} {child} 6")
    with Sampling(tmp_path, driver) as sampling:
        sampling.wait("watching")
        sampling.mark("run", "end", root.pid)
        sampling.stop()
    os.kill(child, 9)
    root.wait()
    root.stdout.close()
    assert (sampling.of(Procs)[-1].ours, sampling.of(Procs)[-1].foreign) == (11, [])


def test_bytes_that_nvml_will_not_give_become_growth_and_say_so(seen, worker):
    record = seen(f"proc {A} {worker.pid} na")
    assert record.pids == {str(worker.pid): None}
    assert record.ours == 2 * GIB
    assert record.why["ours"] == procs.GROWTH + "NVML gives no memory per process here"
    assert record.foreign == []


def test_no_process_list_becomes_growth_and_says_so(seen):
    record = seen("error nvmlDeviceGetComputeRunningProcesses_v3 * 1 100 4")
    assert (record.pids, record.ours) == (None, 2 * GIB)
    assert record.why == {"pids": "no permission", "ours": procs.GROWTH + "no permission"}


def test_none_of_ours_on_the_device_is_a_true_zero(seen):
    record = seen()
    assert (record.pids, record.ours, record.why) == ({}, 0, None)


class FakeGpu:
    uuid, used, baseline = A, 3 * GIB, GIB

    def __init__(self, pids):
        self.pids = pids

    def processes(self):
        return self.pids, None


class FakeTree:
    pids = frozenset({1})


def procs_of(pids, tree, earlier) -> Any:
    return procs.procs(cast(Gpu, FakeGpu(pids)), cast(Tree | None, tree), earlier)


@pytest.fixture
def container(monkeypatch):
    monkeypatch.setattr(procs, "other_namespace", lambda: True)


@pytest.mark.usefixtures("container")
def test_host_pids_in_a_container_become_growth_and_say_so():
    record = procs_of({NOBODY: 99}, FakeTree(), earlier=set())
    assert record.ours == 2 * GIB
    assert record.why["ours"] == procs.GROWTH + "NVML's pids are of another pid namespace"
    assert record.foreign == []


@pytest.mark.usefixtures("container")
def test_who_was_there_before_the_tree_is_foreign_in_a_container_too():
    record = procs_of({NOBODY: 99}, FakeTree(), earlier={NOBODY})
    assert (record.ours, record.foreign) == (0, [NOBODY])


def test_outside_containers_an_unknown_pid_is_a_stranger_that_has_just_ended(monkeypatch):
    monkeypatch.setattr(procs, "other_namespace", lambda: False)
    record = procs_of({NOBODY: 99}, FakeTree(), earlier=set())
    assert (record.ours, record.foreign) == (0, [NOBODY])


@pytest.mark.usefixtures("container")
def test_when_nothing_is_watched_everyone_is_foreign():
    record = procs_of({NOBODY: 99}, None, earlier=set())
    assert (record.ours, record.foreign) == (None, [NOBODY])
