"""Faults of what is around a run: its disk and folder, the clock on the wall, GPU and memory."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.faults.checks import ended, expect, readable, result, resumes, true_numbers
from tests.faults.scene import Left, Scene
from tests.monitor.double import GIB, A, Driver, compile_driver

DISK = 16 << 20
LONG = {"kind": "uniform", "requests": 8, "prompt": [4, 8], "output": [30, 30]}
IDLE = f"gpu {A} H100 {80 * GIB} {GIB} 0"
STEP_C = Path(__file__).with_name("step.c")


@contextmanager
def _disk(scene: Scene) -> Iterator[Path]:
    """A small file system of the scene's own, in which the run writes."""
    place = scene.home / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        raise Left("mounting takes root")
    scene.bench.out = place / "run"
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def full_disk(scene: Scene) -> None:
    """However much is free at first: one line (2), or a row (4), and it goes on."""
    free = scene.draw.choice([4, 16, 48, 100, 200, 400, 1000, 2500]) << 10
    with _disk(scene) as place:
        (place / "ballast").write_bytes(bytes(DISK - free))
        scene.note(f"{free >> 10} KiB free")
        suite = scene.suite("stub", workload=LONG)
        done = scene.finish(scene.start(suite))
        ended(scene, done, 0, 2, 4)
        (place / "ballast").unlink()
        if scene.bench.out.exists():
            readable(scene, torn=True)
            ended(scene, scene.resume(), 0)
        else:
            ended(scene, scene.finish(scene.start(suite)), 0)
        _all_well(scene)


def _all_well(scene: Scene) -> None:
    """What stopped where the disk was full may be torn there; the result is whole."""
    readable(scene, torn=True)
    found = result(scene)
    expect(found and found.complete, "not complete")
    for cell in found.cells if found else []:
        expect((cell.status, cell.output_tokens) == ("ok", 240), f"{cell.status}: {cell.reason}")


def read_only(scene: Scene) -> None:
    """The file system goes read-only in mid-run, as a disk with errors does; then it is back."""
    with _disk(scene) as place:
        suite = scene.suite("stub", workload=LONG)
        process = scene.start(suite)
        after = scene.draw.uniform(0, 3)
        time.sleep(after)
        scene.note(f"read-only after {after:.2f} s")
        subprocess.run(["mount", "-o", "remount,ro", place], capture_output=True)
        done = scene.finish(process)
        ended(scene, done, 0, 2, 4)
        subprocess.run(["mount", "-o", "remount,rw", place], check=True)
        if scene.bench.out.exists() and (scene.bench.out / "suite.json").exists():
            readable(scene, torn=True)
            ended(scene, scene.resume(), 0)
            _all_well(scene)
        elif scene.bench.out.exists():
            ended(scene, scene.resume(), 2)


def clock_step(scene: Scene) -> None:
    """The wall's clock jumps, by hours and both ways: no number depends on it."""
    engine = scene.draw.choice(["hf", "stub"])
    library, step = scene.home / "step.so", scene.home / "step"
    subprocess.run(
        ["cc", "-O2", "-shared", "-fPIC", f'-DSTEP="{step}"', "-o", library, STEP_C], check=True
    )
    step.write_text("0")
    scene.bench.environment["LD_PRELOAD"] = str(library)
    process = scene.start(scene.suite(engine))
    while process.poll() is None:
        jump = scene.draw.choice([-1, 1]) * scene.draw.choice([2, 3600, 86400 * 400])
        scene.note(f"{jump} s")
        step.write_text(str(jump))
        time.sleep(scene.draw.uniform(0.2, 1.5))
    done = scene.finish(process)
    ended(scene, done, 0)
    readable(scene)
    true_numbers(scene, engine, scene.elapsed())


def gpu_lost(scene: Scene) -> None:
    """What a lost GPU cannot tell is null with the reason, or the cell is not well."""
    driver = Driver(compile_driver(scene.home / "nvml"), scene.home)
    scene.bench.environment |= driver.environment
    del scene.bench.environment["CUDA_VISIBLE_DEVICES"]
    driver.write(IDLE)
    process = scene.start(scene.suite("stub"), python=("-c", IMPATIENT))
    code = scene.draw.choice([1, 9, 15, 15, 16, 999])
    after = scene.draw.uniform(0, 3)
    scene.note(f"NVML error {code} after {after:.2f} s")
    time.sleep(after)
    driver.write(IDLE, *(f"error nvmlDeviceGet{name} * 1 1000000 {code}" for name in LOST))
    if scene.draw.random() < 0.5:
        time.sleep(scene.draw.uniform(0.2, 1.5))
        scene.note("and found again")
        driver.write(IDLE, "reset 1")
    done = scene.finish(process)
    ended(scene, done, 0, 2, 4)
    if done.code == 2:
        return
    readable(scene)
    true_numbers(scene, "stub", scene.elapsed())
    found = result(scene)
    for cell in found.cells if found else []:
        for phase in cell.phases:
            expect(phase.device_peak in (None, 0), f"{phase.name}: {phase.device_peak}")


LOST = ("MemoryInfo_v2", "ComputeRunningProcesses_v3", "TotalEnergyConsumption", "PowerUsage")
IMPATIENT = "from orchestrator import cell, cli; cell.CLEAN_WAIT_S = 2.0; cli.main()"


def _join(group: Path) -> None:
    """Go into a cgroup, with everything that is started from here on."""
    (group / "cgroup.procs").write_text("0")


def out_of_memory(scene: Scene) -> None:
    """The kernel ends what passes the limit of its cgroup: a row that says why (4)."""
    if scene.cgroup is None:
        raise Left("name a memory cgroup of yours with --cgroup")
    limit = scene.draw.choice([100, 150, 200, 250]) << 20
    group = Path(scene.cgroup) / f"fault-{scene.home.name}"
    group.mkdir()
    try:
        name = "memory.max" if (group / "memory.max").exists() else "memory.limit_in_bytes"
        (group / name).write_text(str(limit))
        scene.note(f"{limit >> 20} MiB")
        suite = scene.suite("hf")
        process = scene.start(suite, preexec_fn=partial(_join, group))
        ended(scene, scene.finish(process), 0, 2, 4, -9)
    finally:
        group.rmdir()
    if (scene.bench.out / "suite.json").exists():
        resumes(scene, "hf")
