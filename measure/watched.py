"""What `pagedbench monitor` saw, in numbers: of each device, of the process tree, of the sampler.

A pure function from the sampler's records to a summary. Sizes are bytes, times seconds; null is
what could not be had.
"""

from pathlib import Path

import msgspec
import numpy as np
from msgspec import UNSET, Struct, UnsetType

from measure.columns import Series
from measure.energy import joules
from measure.sampled import DeviceTrace, Sampled, sampled
from traces.reader import Damage, read
from traces.records import End

NS = 1e9
ABOUT, TRACE = "watch.json", "samples.jsonl"


class WatchedDevice(Struct, kw_only=True):
    """A device over the time watched. `silent_s` is how long its memory could not be read.

    `ours_peak` is what the process tree held at most, and `ours_how` says if that was inferred.
    """

    uuid: str
    index: int | None
    name: str | None
    memory_total: int | None
    samples: int
    used_before: int | None
    used_peak: int | None
    peak_at_s: float | None
    used_end: int | None
    silent_s: float
    silent_why: list[str]
    ours_peak: int | None
    ours_how: str
    foreign: list[int]
    gpu_util_mean: float | None
    power_mean_w: float | None
    joules: float | None
    throttle: list[str]


class WatchedTree(Struct, kw_only=True):
    """The process tree at its highest, and the processor time it took."""

    rss_peak: int | None
    pss_peak: int | None
    processes_peak: int | None
    cpu_s: float | None


class KernelAccount(Struct, kw_only=True, frozen=True):
    """What the kernel accounted to the command: of its largest process, and of all together.

    Nothing of it is set where there was no command, or it has not ended.
    """

    max_rss_of_one: int | UnsetType | None = UNSET
    cpu_s: float | UnsetType = UNSET
    major_faults: int | UnsetType = UNSET
    minor_faults: int | UnsetType = UNSET


class WatchNote(Struct, kw_only=True, frozen=True):
    """What was asked and how it ended, which the trace does not tell: watch.json."""

    command: list[str] = []
    pid: int | None = None
    interval_s: float | None = None
    exit_code: int | None = None
    kernel: KernelAccount = KernelAccount()
    no_devices: str = ""
    trouble: str = ""


class SamplerAccount(Struct, kw_only=True):
    """What the sampler said of itself when it ended."""

    ticks: int
    missed: int
    rate_hz: float
    jitter_p50: int | None
    jitter_p99: int | None
    cpu_s: float


class WatchSummary(Struct, kw_only=True):
    """One watch. `sampler` is None where it did not end in order."""

    seconds: float
    devices: list[WatchedDevice]
    tree: WatchedTree | None
    host_used_peak: int | None
    sampler: SamplerAccount | None
    missed_ticks: int | None
    longest_gap_s: float | None


def load_watch(folder: Path, damage: Damage) -> Sampled:
    """Read a folder's trace. Raises TraceError, OSError as the reader does."""
    return sampled(read(folder / TRACE, damage))


def summarize(seen: Sampled) -> WatchSummary:
    """Return the numbers of one watch."""
    begin, end = _window(seen)
    part = seen.between(begin, end)
    return WatchSummary(
        seconds=round((end - begin) / NS, 3),
        devices=[
            _device(trace, seen.devices[uuid], begin, end) for uuid, trace in part.devices.items()
        ],
        tree=_tree(part),
        host_used_peak=_whole(part.host.series("host_used").peak()),
        sampler=_account(seen.ends),
        missed_ticks=_whole(float(seen.gaps.column("missed").sum())),
        longest_gap_s=_round(seen.gaps.series("span").peak(), NS),
    )


def _window(seen: Sampled) -> tuple[int, int]:
    """The time watched: between the marks of the run, else all there is."""
    edges = {mark.edge: mark.t for mark in seen.marks if mark.phase == "run"}
    first = [seen.host.t[0]] if len(seen.host) else []
    first += [trace.memory.t[0] for trace in seen.devices.values() if len(trace.memory)]
    begin = edges.get("begin", min(first, default=0))
    return begin, edges.get("end", seen.last() or begin)


def _device(part: DeviceTrace, whole: DeviceTrace, begin: int, end: int) -> WatchedDevice:
    used, about = part.memory.series("used"), whole.about
    before = whole.memory.series("used").at(begin)
    peak_time = used.peak_time()
    ours = [procs for procs in part.procs if procs.ours is not None]
    most = max(ours, key=lambda procs: procs.ours or 0, default=None)
    spent, _ = joules([whole], begin, end)
    return WatchedDevice(
        uuid=part.uuid,
        index=about.index if about else None,
        name=about.name if about else None,
        memory_total=about.memory_total if about else None,
        samples=len(used),
        used_before=_whole(before),
        used_peak=_whole(used.peak()),
        peak_at_s=None if peak_time is None else round((peak_time - begin) / NS, 6),
        used_end=_last(whole),
        silent_s=round(_silent(whole, begin, end) / NS, 3),
        silent_why=list(whole.silent),
        ours_peak=most.ours if most else None,
        ours_how=(most.why or {}).get("ours", "") if most else "",
        foreign=sorted({pid for procs in part.procs for pid in procs.foreign}),
        gpu_util_mean=_mean(part.load.series("gpu_util")),
        power_mean_w=_mean(part.load.series("power_w")),
        joules=None if spent is None else round(spent, 3),
        throttle=sorted({reason for _, several in part.throttle for reason in several}),
    )


def _last(trace: DeviceTrace) -> int | None:
    """The newest reading; None when it failed, whatever was read before."""
    used = trace.memory.column("used")
    return int(used[-1]) if len(used) and not np.isnan(used[-1]) else None


def _silent(trace: DeviceTrace, begin: int, end: int) -> int:
    """How long, of the time watched, memory could not be read: from a failure to a success."""
    times = np.append(trace.memory.times(), end)
    failed = np.isnan(trace.memory.column("used"))
    return int(np.diff(np.clip(times, begin, end))[failed].sum())


def _tree(part: Sampled) -> WatchedTree | None:
    host = part.host
    cpu = host.series("cpu_s").known()
    if host.series("rss").peak() is None:
        return None
    return WatchedTree(
        rss_peak=_whole(host.series("rss").peak()),
        pss_peak=_whole(host.series("pss").peak()),
        processes_peak=_whole(host.series("processes").peak()),
        cpu_s=round(float(cpu.v[-1] - cpu.v[0]), 2) if len(cpu) else None,
    )


def _account(ends: list[End]) -> SamplerAccount | None:
    return msgspec.convert(ends[-1], SamplerAccount, from_attributes=True) if ends else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _round(value: float | None, unit: float) -> float | None:
    return None if value is None else round(value / unit, 6)


def _mean(series: Series) -> float | None:
    known = series.known()
    return round(float(known.v.mean()), 2) if len(known) else None
