"""What `pagedbench monitor` saw, in words, and `write`, which makes summary.json, summary.md and
timeline.svg of a folder anew from its trace alone.
"""

import shlex
from pathlib import Path
from typing import Any

import msgspec

from measure.load import read_json
from measure.watched import ABOUT, load_watch, summarize
from report import watched_svg
from traces.reader import Damage
from traces.units import seconds, size


def write(folder: Path) -> dict[str, Any]:
    """Read a folder's trace and write what follows from it; returns the summary."""
    damage = Damage()
    seen = load_watch(folder, damage)
    found = {
        **read_json(folder / ABOUT, dict),
        **msgspec.to_builtins(summarize(seen)),
        "damage": {"bad_lines": damage.bad, "torn": damage.torn},
    }
    raw = msgspec.json.format(msgspec.json.encode(found))
    (folder / "summary.json").write_bytes(raw + b"\n")
    (folder / "summary.md").write_text(text(found))
    (folder / "timeline.svg").write_text(watched_svg.draw(seen))
    return found


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
        asked = f" of {1 / found['interval_s']:g} asked" if found.get("interval_s") else ""
        words = f"{sampler['rate_hz']:.1f} Hz{asked}, {missed:,} of {due:,} ticks missed"
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
