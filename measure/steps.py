"""The engine's steps of the run phase as columns: how long each was, and what was held in it."""

from dataclasses import dataclass

import numpy as np

from measure.columns import Bools, Floats, Ints
from measure.restate import stored_and_ahead
from measure.timeline import Timeline


@dataclass(frozen=True, slots=True)
class KvSteps:
    """The kv records of the run phase: each step's begin and length, its slots, its requests."""

    t_ns: Ints
    dt_ns: Floats
    step: Floats
    stored: Floats
    ahead: Floats
    held: Floats
    pool: Floats
    pads: Floats
    running: Floats
    waiting: Floats
    preempted: Floats
    shared: Floats
    computed: Floats

    def __len__(self) -> int:
        return len(self.t_ns)

    def integral(self, values: Floats) -> float:
        """Sum of values x nanoseconds."""
        return float(values @ self.dt_ns)

    def last_of_each(self) -> Bools:
        """Mark the last record of each step in which slots were held."""
        holding = np.flatnonzero(self.held > 0)
        last = np.zeros(len(self), bool)
        last[holding[np.diff(self.step[holding], append=np.inf) != 0]] = True
        return last


def kv_steps(timeline: Timeline) -> KvSteps | None:
    """The steps of the run phase, or None where none was recorded."""
    window = timeline.window("run")
    if window is None:
        return None
    begin, end = window
    kv = timeline.kv.between(begin, end)
    if not len(kv):
        return None
    t = kv.times()
    stored, ahead = stored_and_ahead(timeline, kv)
    return KvSteps(
        t_ns=t,
        dt_ns=np.diff(t, append=max(end, int(t[-1]))).astype(float),
        step=kv.column("step"),
        stored=stored,
        ahead=ahead,
        held=kv.column("held"),
        pool=kv.column("pool"),
        pads=kv.column("pad"),
        running=kv.column("running"),
        waiting=kv.column("waiting"),
        preempted=kv.column("preempted"),
        shared=kv.column("shared"),
        computed=kv.column("computed"),
    )
