"""What `pagedbench monitor` saw, in numbers: of each device, of the process tree, of the sampler.

A pure function from records and a few facts to a dict, the text of it, and `write`, which makes
summary.json, summary.md and timeline.svg of a folder anew from its trace alone.
"""

import shlex
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from measure.columns import Series
from measure.load import read_json
from measure.sampled import DeviceTrace, Sampled, sampled
from report import watched_svg
from traces.reader import Damage, read
from traces.records import End
from traces.units import seconds, size

NS = 1e9
ABOUT, TRACE = "watch.json", "samples.jsonl"


def write(folder: Path) -> dict[str, Any]:
    """Read a folder's trace and write what follows from it; returns the summary."""
    damage = Damage()
    seen = sampled(read(folder / TRACE, damage))
    found = summary(seen, read_json(folder / ABOUT))
    found["damage"] = {"bad_lines": damage.bad, "torn": damage.torn}
    raw = msgspec.json.format(msgspec.json.encode(found))
    (folder / "summary.json").write_bytes(raw + b"\n")
    (folder / "summary.md").write_text(text(found))
    (folder / "timeline.svg").write_text(watched_svg.draw(seen))
    return found


def summary(seen: Sampled, about: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of one watch. Bytes, seconds, watts, joules; null where unknown."""
    begin, end = window(seen)
    part = seen.between(begin, end)
    return {
        **about,
        "seconds": round((end - begin) / NS, 3),
        "devices": [
            _device(trace, seen.devices[uuid], begin, end) for uuid, trace in part.devices.items()
        ],
        "tree": _tree(part),
        "host_used_peak": _whole(part.host.series("host_used").peak()),
        "sampler": _account(seen.ends),
        "missed_ticks": _whole(float(seen.gaps.column("missed").sum())),
        "longest_gap_s": _round(seen.gaps.series("span").peak(), NS),
    }


def window(seen: Sampled) -> tuple[int, int]:
    """The time watched: between the marks of the run, else all there is."""
    edges = {mark.edge: mark.t for mark in seen.marks if mark.phase == "run"}
    first = [seen.host.t[0]] if len(seen.host) else []
    first += [trace.memory.t[0] for trace in seen.devices.values() if len(trace.memory)]
    begin = edges.get("begin", min(first, default=0))
    return begin, edges.get("end", seen.last() or begin)


def text(found: dict[str, Any]) -> str:
    """The summary as a short page."""
    pairs = [(name, value.replace("|", "\\|")) for name, value in rows(found)]
    lines = ["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in pairs)]
    return "\n".join(lines) + "\n"


def rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """The summary as pairs of words, for a terminal or a page."""
    table = [("watched", f"{_subject(found)}, {seconds(found['seconds'])}")]
    if not found["devices"]:
        table.append(("GPU", found["no_devices"] or "none"))
    for device in found["devices"]:
        table += _device_rows(device)
    if tree := found["tree"]:
        table.append(("process tree, most resident (RSS)", size(tree["rss_peak"])))
        table.append(("process tree, most held (PSS)", size(tree["pss_peak"])))
    kernel = found.get("kernel")
    if kernel and kernel["max_rss_of_one"]:
        table.append(("largest process (kernel's account)", size(kernel["max_rss_of_one"])))
    if (cpu := _cpu(kernel, tree)) is not None:
        table.append(("CPU time", seconds(cpu)))
    sampler = found["sampler"]
    if sampler:
        missed, due = sampler["missed"], sampler["ticks"] + sampler["missed"]
        words = f"{sampler['rate_hz']:.1f} Hz, {missed:,} of {due:,} ticks missed"
        table.append(("sampler", f"{words}, {seconds(sampler['cpu_s'])} of CPU time"))
    else:
        table.append(("sampler", "did not end in order: the trace stops early"))
    return table


def _subject(found: dict[str, Any]) -> str:
    if found.get("command"):
        how = f"exit code {found['exit_code']}" if found["exit_code"] is not None else "not ended"
        return f"`{' '.join(shlex.join(found['command']).split())}` ({how})"
    return f"pid {found['pid']}" if found.get("pid") else "the devices"


def _cpu(*accounts: dict[str, Any] | None) -> float | None:
    """The larger: the kernel leaves out who was not waited for, the sampler what came between."""
    known = [account["cpu_s"] for account in accounts if account]
    return max((cpu for cpu in known if cpu is not None), default=None)


def _device_rows(device: dict[str, Any]) -> list[tuple[str, str]]:
    name = f"GPU {device['index']} {device['name'] or ''}".strip()
    of = f" of {size(device['memory_total'])}" if device["memory_total"] else ""
    at = f", {device['peak_at_s']:.3f} s in" if device["peak_at_s"] is not None else ""
    table = [
        (f"{name}, memory before", size(device["used_before"])),
        (f"{name}, most memory used", f"{size(device['used_peak'])}{of}{at}"),
    ]
    if device["silent_s"]:
        why = ", ".join(device["silent_why"])
        table.append((f"{name}, memory not read", f"for {seconds(device['silent_s'])} ({why})"))
    if device["ours_peak"] is not None:
        note = f" ({device['ours_how']})" if device["ours_how"] else ""
        table.append((f"{name}, most held by the process tree", size(device["ours_peak"]) + note))
    if device["joules"] is not None:
        table.append((f"{name}, energy", f"{device['joules']:,.1f} J"))
    if device["gpu_util_mean"] is not None:
        table.append((f"{name}, mean utilisation", f"{device['gpu_util_mean']:.0f} %"))
    if device["foreign"]:
        pids = ", ".join(map(str, device["foreign"]))
        table.append((f"{name}, foreign processes", f"{pids}: the numbers are suspect"))
    return table


def _device(part: DeviceTrace, whole: DeviceTrace, begin: int, end: int) -> dict[str, Any]:
    used, about = part.memory.series("used"), whole.about
    before = whole.memory.series("used").at(begin)
    peak_time = used.peak_time()
    ours = [procs for procs in part.procs if procs.ours is not None]
    most = max(ours, key=lambda procs: procs.ours or 0, default=None)
    return {
        "uuid": part.uuid,
        "index": about and about.index,
        "name": about and about.name,
        "memory_total": about and about.memory_total,
        "samples": len(used),
        "used_before": _whole(before),
        "used_peak": _whole(used.peak()),
        "peak_at_s": None if peak_time is None else round((peak_time - begin) / NS, 6),
        "used_end": _last(whole),
        "silent_s": round(_silent(whole, begin, end) / NS, 3),
        "silent_why": list(whole.silent),
        "ours_peak": most and most.ours,
        "ours_how": (most.why or {}).get("ours", "") if most else "",
        "foreign": sorted({pid for procs in part.procs for pid in procs.foreign}),
        "gpu_util_mean": _mean(part.load.series("gpu_util")),
        "power_mean_w": _mean(part.load.series("power_w")),
        "joules": _joules(whole),
        "throttle": sorted({reason for _, several in part.throttle for reason in several}),
    }


def _last(trace: DeviceTrace) -> int | None:
    """The newest reading; None when it failed, whatever was read before."""
    used = trace.memory.column("used")
    return int(used[-1]) if len(used) and not np.isnan(used[-1]) else None


def _silent(trace: DeviceTrace, begin: int, end: int) -> int:
    """How long, of the time watched, memory could not be read: from a failure to a success."""
    times = np.append(trace.memory.times(), end)
    failed = np.isnan(trace.memory.column("used"))
    return int(np.diff(np.clip(times, begin, end))[failed].sum())


def _joules(trace: DeviceTrace) -> float | None:
    counter = {energy.where: energy.total_mj for energy in trace.energy}
    begin, end = counter.get("run.begin"), counter.get("run.end")
    return None if begin is None or end is None else round((end - begin) / 1000, 3)


def _tree(part: Sampled) -> dict[str, Any] | None:
    host = part.host
    cpu = host.series("cpu_s").known()
    if host.series("rss").peak() is None:
        return None
    return {
        "rss_peak": _whole(host.series("rss").peak()),
        "pss_peak": _whole(host.series("pss").peak()),
        "processes_peak": _whole(host.series("processes").peak()),
        "cpu_s": round(float(cpu.v[-1] - cpu.v[0]), 2) if len(cpu) else None,
    }


def _account(ends: list[End]) -> dict[str, Any]:
    if not ends:
        return {}
    names = ("ticks", "missed", "rate_hz", "jitter_p50", "jitter_p99", "cpu_s")
    return {name: getattr(ends[-1], name) for name in names}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _round(value: float | None, unit: float) -> float | None:
    return None if value is None else round(value / unit, 6)


def _mean(series: Series) -> float | None:
    known = series.known()
    return round(float(known.v.mean()), 2) if len(known) else None
