"""What makes a cell's numbers doubtful, read from the samples of its run phase."""

from measure.columns import Columns
from measure.timeline import Timeline

HARMLESS = ("idle", "none", "app", "sw_power_cap", "sync_boost", "display")
"""Throttle reasons that are normal under load or at rest."""

MOST_BLIND = 0.01  # of the run, in gaps between samples
# A run on a quiet CPU used 97 % of its cores, and the load was at most 0.33 above that (it is a
# minute's average, so the cell before is in it). Beside other work: 0.45 to 2.5, and under 91 %.
MOST_OTHERS, LEAST_OURS = 0.4, 0.95


def doubts(timeline: Timeline, cores: int | None = None) -> list[str]:
    """One line per reason for doubt; empty for a quiet run. `cores` of the host, where known."""
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
    if cores and not seen.devices:
        found += _others(seen.host, cores)
    return found


def _others(host: Columns, cores: int) -> list[str]:
    """Whether other programs used the processors that a run without a GPU computes on."""
    load, cpu = host.series("load1").known(), host.series("cpu_s").known()
    span = float(cpu.t[-1] - cpu.t[0]) / 1e9 if len(cpu) > 1 else 0.0
    if not span or not len(load):
        return []
    ours = float(cpu.v[-1] - cpu.v[0]) / span
    if load.v[-1] - ours <= MOST_OTHERS or ours >= LEAST_OURS * cores:
        return []
    share = f"a load of {load.v[-1]:.1f}, {ours:.1f} of it this run's"
    return [f"other work on the processors: {share}"]
