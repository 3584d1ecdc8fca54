"""A clean device before and after each cell: waited for, certified, or the cell does not run.

The driver is the double of tests/monitor; everything above it is real.
"""

import os
import time
from pathlib import Path
from typing import cast

import pytest

from orchestrator import cell
from orchestrator.sampler import SamplerProcess
from tests.monitor.double import GIB, A, Driver, compile_driver
from tests.orchestrator.bench import A_FIRST, finish, wait_for
from traces.reader import read
from traces.records import Sample

IDLE = f"gpu {A} H100 {80 * GIB} {GIB} 0"
FULL = f"gpu {A} H100 {80 * GIB} {5 * GIB} 0"
FOREIGN = f"proc {A} {os.getpid()} {2 * GIB}"
IMPATIENT = (
    "-c",
    "from orchestrator import cell, cli; cell.CLEAN_WAIT_S = 0.5; cli.main()",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_driver(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpu(bench, library):
    """A bench with a GPU, whose script a test changes. The CPU runs the cells all the same."""
    bench.driver = Driver(library, bench.home)
    bench.driver.write(IDLE)
    bench.environment |= bench.driver.environment
    del bench.environment["CUDA_VISIBLE_DEVICES"]
    bench.arguments = ("--quiet", "--device", "cpu", "--out", bench.out, "--suite")
    return bench


def test_a_cell_waits_until_somebody_elses_process_is_gone(gpu):
    gpu.driver.write(IDLE, FOREIGN)
    process = gpu.start(*gpu.arguments, gpu.suite())
    wait_for(lambda: (gpu.out / "cells/stub0.r0").exists(), "the cell")
    time.sleep(0.8)
    assert not (gpu.out / "cells/stub0.r0/worker.jsonl").exists()
    gpu.driver.write(IDLE)

    assert finish(process).returncode == 0
    before, after = (gpu.about("stub0.r0")["certificate"][when] for when in ("before", "after"))
    assert before["waited_s"] > 0.7
    for (device,) in (before["devices"], after["devices"]):
        assert (device["uuid"], device["used"], device["pids"]) == (A, GIB, [])
    assert gpu.cells()["stub0.r0"]["device_after"] == 0  # above what was there before the cell


def test_a_cell_ends_when_memory_is_back_at_the_baseline(gpu):
    process = gpu.start(*gpu.arguments, gpu.suite(gpu.holding(), {}, seed=A_FIRST))
    worker = gpu.in_mid_run("stub0.r0")
    gpu.driver.write(FULL)
    time.sleep(0.2)
    gpu.release()
    wait_for(lambda: not Path(f"/proc/{worker}/environ").exists(), "the worker's end")
    time.sleep(0.8)
    gpu.driver.write(IDLE)

    assert finish(process).returncode == 0
    assert gpu.about("stub0.r0")["certificate"]["after"]["waited_s"] > 0.5
    assert {cell["status"] for cell in gpu.cells().values()} == {"ok"}
    samples = [r for r in read(gpu.out / "samples.jsonl") if isinstance(r, Sample)]
    assert {sample.used for sample in samples} == {GIB, 5 * GIB}


def test_a_device_in_use_is_a_row_and_nothing_runs(gpu):
    gpu.driver.write(IDLE, FOREIGN)
    done = gpu.run(*gpu.arguments, gpu.suite(), python=IMPATIENT)
    assert done.returncode == 4
    row = gpu.cells()["stub0.r0"]
    assert row["status"] == "unclean"
    assert f"processes [{os.getpid()}]" in row["reason"]
    assert not (gpu.out / "cells/stub0.r0/worker.jsonl").exists()
    assert gpu.about("stub0.r0")["pid"] is None

    gpu.driver.write(IDLE)
    assert gpu.resume().returncode == 0


def test_memory_that_stays_taken_is_held_against_the_cell_that_took_it(gpu):
    suite = gpu.suite(gpu.holding(), {}, seed=A_FIRST)
    process = gpu.start(*gpu.arguments, suite, python=IMPATIENT)
    gpu.in_mid_run("stub0.r0")
    gpu.driver.write(FULL)
    gpu.release()
    assert finish(process).returncode == 4
    first, second = gpu.cells().values()
    assert first["status"] == "ok"
    assert "device not clean afterwards" in first["suspect"][0]
    assert f"{A}: {5 * GIB} bytes used" in first["suspect"][0]
    assert (second["status"], second["requests_run"]) == ("unclean", None)


class Silent:
    """A sampler that lives and says nothing."""

    alive = True

    def state(self):
        return None


def test_a_sampler_that_does_not_answer_certifies_nothing(monkeypatch):
    monkeypatch.setattr(cell, "CLEAN_WAIT_S", 0.3)
    clean, seen = cell.evidence(cast(SamplerProcess, Silent()), {})
    assert not clean
    assert seen.devices == []
    assert seen.waited_s >= 0.3
