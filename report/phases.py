"""Memory at each phase: at its end, and the highest seen in it.

The host's PSS is sampled more slowly than phases change, so the end of a phase takes the last
reading within it, or else the first one after.
"""

from report import result
from report.columns import Series
from report.timeline import Timeline

ORDER = ("import", "load", "warmup", "run", "teardown")
LATE = 2_000_000_000  # a reading later than this after a phase says nothing about its end


def phases(timeline: Timeline) -> list[result.Phase]:
    """One entry per phase, in the order they began."""
    device, host = timeline.seen.used(), host_memory(timeline)
    names = sorted(timeline.phases, key=lambda name: timeline.phases[name].begin)
    found = []
    for name in names:
        begin, end = timeline.window(name) or (0, 0)
        found.append(
            result.Phase(
                name=name,
                seconds=(end - begin) / 1e9,
                device_end=at_end(device, begin, end),
                device_peak=_whole(device.between(begin, end).peak()),
                host_end=at_end(host, begin, end),
                host_peak=_whole(host.between(begin, end).peak()),
            )
        )
    return found


def host_memory(timeline: Timeline) -> Series:
    """PSS of the process tree, or RSS where PSS was never read."""
    host = timeline.seen.host
    pss = host.series("pss").known()
    return pss if len(pss) else host.series("rss").known()


def at_end(series: Series, begin: int, end: int) -> int | None:
    """The last reading within a phase, or the first soon after it."""
    within = series.between(begin, end).known()
    if len(within):
        return int(within.v[-1])
    after = series.between(end, end + LATE).known()
    return int(after.v[0]) if len(after) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
