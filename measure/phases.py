"""Memory at each phase: at its end, and the highest seen in it; a device's above the baseline.

The host's PSS is dear to read, so it is read at a slow rate and, by the sampler, when it hears of
a phase's end, which is a moment later. The end of a phase therefore takes the nearest reading, be
it just before or just after.
"""

from measure import result
from measure.columns import Series
from measure.timeline import Timeline

NEAR = 2_000_000_000  # a reading further than this from a phase's end says nothing about it


def summarize(timeline: Timeline, before: int | None = None) -> list[result.Phase]:
    """One entry per phase, in the order they began; device bytes above what was there before."""
    device = above(timeline.seen.used(), device_baseline(timeline, before))
    host = host_memory(timeline)
    names = sorted(timeline.phases, key=lambda name: timeline.phases[name].begin)
    found = []
    for name in names:
        begin, end = timeline.window(name) or (0, 0)
        device_end, host_end = at_end(device, end), at_end(host, end)
        found.append(
            result.Phase(
                name=name,
                seconds=(end - begin) / 1e9,
                device_end=device_end,
                device_peak=_peak(device.between(begin, end), device_end),
                host_end=host_end,
                host_peak=_peak(host.between(begin, end), host_end),
            )
        )
    return found


def device_baseline(timeline: Timeline, before: int | None) -> int:
    """Device bytes in use before the cell: as certified, else as first seen."""
    return before if before is not None else int(timeline.seen.used().at(timeline.start) or 0)


def device_after(timeline: Timeline, before: int | None, after: int | None) -> int | None:
    """Device bytes in use once the cell was gone, above the baseline."""
    return None if after is None else after - device_baseline(timeline, before)


def above(series: Series, baseline: int) -> Series:
    """The readings less a baseline."""
    return Series(series.t, series.v - baseline)


def host_memory(timeline: Timeline) -> Series:
    """PSS of the process tree, or RSS where PSS was never read."""
    host = timeline.seen.host
    pss = host.series("pss").known()
    return pss if len(pss) else host.series("rss").known()


def at_end(series: Series, end: int) -> int | None:
    """The known reading nearest to the end of a phase."""
    near = series.between(end - NEAR, end + NEAR).known()
    return int(near.v[abs(near.t - end).argmin()]) if len(near) else None


def _peak(within: Series, end: int | None) -> int | None:
    """The highest reading; that of the end counts, if it was taken a moment after it."""
    known = [int(value) for value in (within.peak(), end) if value is not None]
    return max(known, default=None)
