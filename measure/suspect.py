"""What makes a cell's numbers doubtful: what the samples of its run phase and its steps show."""

from measure.columns import Columns, Series
from measure.sampled import DeviceTrace
from measure.timeline import Timeline
from measure.unsteady import spread

HARMLESS = ("idle", "none", "app", "sw_power_cap", "sync_boost", "display")
"""Throttle reasons that are normal under load or at rest."""

MOST_BLIND = 0.01  # of the run, in gaps between samples
# A run on a quiet CPU used 97 % of its cores, and the load was at most 0.33 above that (it is a
# minute's average, so the cell before is in it). Beside other work: 0.45 to 2.5, and under 91 %.
MOST_OTHERS, LEAST_OURS = 0.4, 0.95
# Decode steps of equal work, p90 to p10: 1.1 to 1.2 on a quiet CPU, 1.02 to 1.05 for engines that
# wait for the GPU, 1.5 to 3.2 where a host's steps jumped between plateaus.
MOST_SPREAD = 1.5
MOST_STOLEN = 0.02  # of the CPU time that the run had; 0 to 0.2 % on quiet virtual machines
# A second, of the main threads. Alone on 2 or 16 cores, one thread or all cores busy: 2 to 4. The
# sampler's own ticks at 10 ms add 50 on two busy cores. With half as many to twice as many other
# programs as cores: 50 to 120; engines beside the tests of other people, on two cores: 80 to 230.
# But vLLM alone on two cores, its threads taking turns with the sampler's, has 196 and 224: only
# more than that says something.
MOST_SWITCHES = 300.0
EDGE = 200_000_000  # what is read at the run's end is read a moment later


def doubts(timeline: Timeline, cores: int | None = None) -> list[str]:
    """One line per reason for doubt; empty for a quiet run. `cores` of the host, where known."""
    window = timeline.window("run")
    if window is None:
        return []
    begin, end = window
    seen = timeline.seen.between(begin, end)
    found = [line for device in seen.owned() for line in _of_device(device)]
    blind = float(seen.gaps.column("span").sum()) / max(end - begin, 1)
    if blind > MOST_BLIND:
        found.append(f"the sampler was late for {blind:.1%} of the run")
    if cores and not seen.devices:
        found += _others(seen.host, cores)
    found += _host(timeline.seen.host.between(begin, end + EDGE))
    ratio = spread(timeline.kv.between(begin, end))
    if ratio is not None and ratio > MOST_SPREAD:
        found.append(f"unsteady decode: like steps took {ratio:.2f} times as long (p90 to p10)")
    return found


def _of_device(device: DeviceTrace) -> list[str]:
    found = []
    reasons = {reason for _, several in device.throttle for reason in several}
    if serious := sorted(r for r in reasons if not r.lower().startswith(HARMLESS)):
        found.append(f"{device.uuid}: clocks held back ({', '.join(serious)})")
    if foreign := {pid for procs in device.procs for pid in procs.foreign}:
        found.append(f"{device.uuid}: {len(foreign)} foreign process(es) on the device")
    return found


def _others(host: Columns, cores: int) -> list[str]:
    """Whether other programs used the processors that a run without a GPU computes on."""
    load, ours = host.series("load1").known(), _rate(host.series("cpu_s"))
    if ours is None or not len(load):
        return []
    if load.v[-1] - ours <= MOST_OTHERS or ours >= LEAST_OURS * cores:
        return []
    share = f"a load of {load.v[-1]:.1f}, {ours:.1f} of it this run's"
    return [f"other work on the processors: {share}"]


def _host(host: Columns) -> list[str]:
    """Whether the host kept the processors from the run, by its own account."""
    found = []
    ours, stolen = _rate(host.series("cpu_s")), _rate(host.series("steal_s"))
    if ours and stolen and stolen / ours > MOST_STOLEN:
        found.append(f"the host stole time: {stolen / ours:.1%} of the CPU time of the run")
    switches = _rate(host.series("switches"))
    if switches and switches > MOST_SWITCHES:
        found.append(f"the processors were taken away {switches:.0f} times a second")
    return found


def _rate(counter: Series) -> float | None:
    """What a counter gained in a second, from its first known reading to its last."""
    known = counter.known()
    span = float(known.t[-1] - known.t[0]) / 1e9 if len(known) > 1 else 0.0
    return float(known.v[-1] - known.v[0]) / span if span else None
