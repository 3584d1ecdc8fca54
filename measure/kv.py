"""KV use over the run phase: what was live, what was held, how long.

Step counts hold from their step until the next one, the last until the run phase ends, so every
mean is weighted by time. Efficiency is the integral of live tokens over the integral of reserved
slots, over the time when slots were held at all. Step efficiency is the same without the time: a
ratio of counts, which a run that takes the same steps repeats to the last digit on any machine.
"""

from dataclasses import dataclass

import numpy as np

from measure import result
from measure.columns import Floats, Ints
from measure.timeline import Timeline
from measure.waste import split


@dataclass(frozen=True, slots=True)
class Steps:
    """The kv records of the run phase, and the nanoseconds each lasted."""

    t: Ints
    dt: Floats
    live: Floats
    reserved: Floats
    pool: Floats
    pads: Floats
    running: Floats
    waiting: Floats
    preempted: Floats

    def __len__(self) -> int:
        return len(self.t)

    def integral(self, values: Floats) -> float:
        """Sum of values x time."""
        return float(values @ self.dt)


def steps(timeline: Timeline) -> Steps | None:
    """The steps of the run phase, or None where none was recorded."""
    window = timeline.window("run")
    if window is None:
        return None
    begin, end = window
    kv = timeline.kv.between(begin, end)
    if not len(kv):
        return None
    t = kv.times()
    return Steps(
        t=t,
        dt=np.diff(t, append=max(end, int(t[-1]))).astype(float),
        live=kv.column("live_tokens"),
        reserved=kv.column("reserved_slots"),
        pool=kv.column("pool_slots"),
        pads=kv.column("pad_slots"),
        running=kv.column("running"),
        waiting=kv.column("waiting"),
        preempted=kv.column("preempted"),
    )


def kv(timeline: Timeline) -> result.Kv | None:
    """Summarise the KV cache's use, or None where no step was recorded."""
    found = steps(timeline)
    if found is None:
        return None
    facts = timeline.facts
    held = found.reserved > 0
    held_ns = float(found.dt[held].sum())
    live, reserved = found.integral(found.live), found.integral(found.reserved)
    efficiency = _ratio(found.integral(found.live * held), reserved)
    bytes_per_slot = facts.get("bytes_per_slot")
    pool = int(found.pool.max())
    return result.Kv(
        steps=len(found),
        bytes_per_slot=bytes_per_slot,
        efficiency=efficiency,
        step_efficiency=_ratio(float(found.live[held].sum()), float(found.reserved[held].sum())),
        mean_live=_ratio(live, held_ns),
        mean_reserved=_ratio(reserved, held_ns),
        peak_live=int(found.live.max()),
        peak_reserved=int(found.reserved.max()),
        pool_slots=pool,
        bytes_held_per_live_token=_ratio(bytes_per_slot, efficiency),
        mean_running=_ratio(found.integral(found.running), held_ns),
        peak_running=int(found.running.max()),
        preempted=int(found.preempted.sum()),
        waste=split(timeline, found),
        block_size=facts.get("block_size"),
        layout=facts.get("kv_layout"),
        peak_live_bytes=_times(found.live.max(), bytes_per_slot),
        peak_reserved_bytes=_times(found.reserved.max(), bytes_per_slot),
        pool_bytes=facts.get("pool_bytes") or _times(pool, bytes_per_slot),
    )


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _times(slots: float, bytes_per_slot: float | None) -> int | None:
    return None if bytes_per_slot is None else int(slots * bytes_per_slot)
