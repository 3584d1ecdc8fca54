"""What makes a cell's numbers doubtful, read from the samples of its run phase."""

from report.timeline import Timeline

HARMLESS = ("idle", "none", "app", "sw_power_cap", "sync_boost", "display")
"""Throttle reasons that are normal under load or at rest."""

MOST_BLIND = 0.01  # of the run, in gaps between samples


def doubts(timeline: Timeline) -> list[str]:
    """One line per reason for doubt; empty for a quiet run."""
    window = timeline.window("run")
    if window is None:
        return []
    found = []
    seen = timeline.seen.between(*window)
    for uuid, device in seen.devices.items():
        reasons = {reason for _, several in device.throttle for reason in several}
        if serious := sorted(r for r in reasons if not r.lower().startswith(HARMLESS)):
            found.append(f"{uuid}: clocks held back ({', '.join(serious)})")
        if foreign := {pid for procs in device.procs for pid in procs.foreign}:
            found.append(f"{uuid}: {len(foreign)} foreign process(es) on the device")
    blind = float(seen.gaps.column("span").sum()) / max(window[1] - window[0], 1)
    if blind > MOST_BLIND:
        found.append(f"the sampler was late for {blind:.1%} of the run")
    return found
