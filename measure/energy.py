"""Energy of a stretch of time, by the devices' own counters.

The sampler reads a counter when it hears of an edge, 10 to 60 ms after it, and the counter itself
moves about every 100 ms (read on an H100: two readings 3 ms apart are equal). What lies between
two readings is therefore brought to the stretch's own length, and a stretch of fewer than twenty
of the counter's steps has no energy: the error would be 5 % and more.
"""

from collections.abc import Iterable

from measure.sampled import DeviceTrace
from traces.records import Energy

SHORTEST_NS = 2_000_000_000
SLACK_NS = 1_000_000_000  # a reading further than this from the edge is of something else

TOO_SHORT = "under 2 s: the energy counter moves every 0.1 s"
NOT_READ = "the energy counter was not read near both ends"


def joules(devices: Iterable[DeviceTrace], begin: int, end: int) -> tuple[float | None, str | None]:
    """Joules that the devices spent together, or None and why; neither where there is none."""
    spent = [_spent(trace, begin, end) for trace in devices]
    why = next((why for _, why in spent if why), None)
    known = [value for value, _ in spent if value is not None]
    return (None, why) if why or not known else (sum(known), None)


def _spent(trace: DeviceTrace, begin: int, end: int) -> tuple[float | None, str | None]:
    if end - begin < SHORTEST_NS:
        return None, TOO_SHORT
    known = [
        (reading.t, reading.total_mj) for reading in trace.energy if reading.total_mj is not None
    ]
    first, last = _nearest(known, begin), _nearest(known, end)
    if first is None or last is None or first[0] >= last[0]:
        return None, _refused(trace.energy) or NOT_READ
    share = (end - begin) / (last[0] - first[0])
    return (last[1] - first[1]) / 1000 * share, None


def _refused(readings: list[Energy]) -> str | None:
    return next((reading.why["total_mj"] for reading in readings if reading.why), None)


def _nearest(readings: list[tuple[int, int]], t: int) -> tuple[int, int] | None:
    near = [reading for reading in readings if abs(reading[0] - t) <= SLACK_NS]
    return min(near, key=lambda reading: abs(reading[0] - t), default=None)
