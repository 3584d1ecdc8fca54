"""What `pagedbench monitor` saw, in words, and `write`, which makes summary.json, summary.md and
timeline.svg of a folder anew from its trace alone.
"""

import shlex
from pathlib import Path
from typing import NamedTuple

import msgspec

from measure.load import read_json
from measure.watched import (
    ABOUT,
    SamplerAccount,
    WatchedDevice,
    WatchNote,
    WatchSummary,
    load_watch,
    summarize,
)
from report import watched_svg
from traces.reader import Damage
from traces.units import seconds, size


class WatchReport(NamedTuple):
    """One watch: what was asked and how it ended, and what was seen."""

    note: WatchNote
    summary: WatchSummary


def write(folder: Path) -> WatchReport:
    """Read a folder's trace and write what follows from it; returns the summary."""
    damage = Damage()
    seen = load_watch(folder, damage)
    found = WatchReport(read_json(folder / ABOUT, WatchNote), summarize(seen))
    flat = {
        **msgspec.structs.asdict(found.note),
        **msgspec.structs.asdict(found.summary),
        "sampler": found.summary.sampler or {},
        "damage": {"bad_lines": damage.bad, "torn": damage.torn},
    }
    raw = msgspec.json.format(msgspec.json.encode(flat))
    (folder / "summary.json").write_bytes(raw + b"\n")
    (folder / "summary.md").write_text(text(found))
    (folder / "timeline.svg").write_text(watched_svg.draw(seen))
    return found


def text(found: WatchReport) -> str:
    """The summary as a short page."""
    pairs = [(name, value.replace("|", "\\|")) for name, value in rows(found)]
    lines = ["| what | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in pairs)]
    return "\n".join(lines) + "\n"


def rows(found: WatchReport) -> list[tuple[str, str]]:
    """The summary as pairs of words, for a terminal or a page."""
    note, summary = found
    table = [("watched", f"{_subject(note)}, {seconds(summary.seconds)}")]
    if not summary.devices:
        table.append(("GPU", note.no_devices or "none"))
    for device in summary.devices:
        table += _device_rows(device)
    if tree := summary.tree:
        table.append(("process tree, most resident (RSS)", size(tree.rss_peak)))
        table.append(("process tree, most held (PSS)", size(tree.pss_peak)))
    if largest := note.kernel.max_rss_of_one:
        table.append(("largest process (kernel's account)", size(largest)))
    # The larger: the kernel leaves out who was not waited for, the sampler what came between.
    cpus = [note.kernel.cpu_s or None, tree.cpu_s if tree else None]
    if known := [cpu for cpu in cpus if cpu is not None]:
        table.append(("CPU time", seconds(max(known))))
    return [*table, ("sampler", _sampler(note, summary.sampler))]


def _sampler(note: WatchNote, account: SamplerAccount | None) -> str:
    if account is None:
        return "did not end in order: the trace stops early"
    due = account.ticks + account.missed
    asked = f" of {1 / note.interval_s:g} asked" if note.interval_s else ""
    rate = f"{account.rate_hz:.1f} Hz{asked}, {account.missed:,} of {due:,} ticks missed"
    return f"{rate}, {seconds(account.cpu_s)} of CPU time"


def _subject(note: WatchNote) -> str:
    if note.command:
        how = f"exit code {note.exit_code}" if note.exit_code is not None else "not ended"
        return f"`{' '.join(shlex.join(note.command).split())}` ({how})"
    return f"pid {note.pid}" if note.pid else "the devices"


def _device_rows(device: WatchedDevice) -> list[tuple[str, str]]:
    name = f"GPU {device.index} {device.name or ''}".strip()
    of = f" of {size(device.memory_total)}" if device.memory_total else ""
    at = f", {device.peak_at_s:.3f} s in" if device.peak_at_s is not None else ""
    table = [
        (f"{name}, memory before", size(device.used_before)),
        (f"{name}, most memory used", f"{size(device.used_peak)}{of}{at}"),
    ]
    if device.silent_s:
        why = ", ".join(device.silent_why)
        table.append((f"{name}, memory not read", f"for {seconds(device.silent_s)} ({why})"))
    if device.ours_peak is not None:
        note = f" ({device.ours_how})" if device.ours_how else ""
        table.append((f"{name}, most held by the process tree", size(device.ours_peak) + note))
    if device.joules is not None:
        table.append((f"{name}, energy", f"{device.joules:,.1f} J"))
    if device.gpu_util_mean is not None:
        table.append((f"{name}, mean utilisation", f"{device.gpu_util_mean:.0f} %"))
    if device.foreign:
        pids = ", ".join(map(str, device.foreign))
        table.append((f"{name}, foreign processes", f"{pids}: the numbers are suspect"))
    return table
