"""What the sampler saw: device and host memory, load, energy and processes, as columns over time.

`sampled` reads the sampler's records once for a whole run; `Sampled.between` gives each cell its
own window. It computes nothing: the ledger and the phases do.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from measure.columns import NULL, Columns, Series, total
from traces.owned import owned
from traces.records import (
    Device,
    End,
    Energy,
    Gap,
    Host,
    Load,
    Mark,
    Procs,
    Record,
    Sample,
)

R = TypeVar("R", bound=Record)

HOST = ("rss", "pss", "processes", "cpu_s", "host_used", "load1", "steal_s", "switches")
LOAD = ("gpu_util", "mem_util", "power_w", "sm_clock", "mem_clock", "temperature")


def _memory() -> Columns:
    return Columns("used")


def _load() -> Columns:
    return Columns(*LOAD)


def _host() -> Columns:
    return Columns(*HOST)


def _gaps() -> Columns:
    return Columns("missed", "span")


@dataclass(slots=True)
class DeviceTrace:
    """One GPU over time. `throttle` has an entry each time the reasons changed, and one for those
    that held when it begins.

    `silent` are the reasons for which its memory could not be read.
    """

    uuid: str
    about: Device | None = None
    memory: Columns = field(default_factory=_memory)
    load: Columns = field(default_factory=_load)
    throttle: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    procs: list[Procs] = field(default_factory=list)
    energy: list[Energy] = field(default_factory=list)
    silent: dict[str, None] = field(default_factory=dict)

    def between(self, begin: int, end: int) -> "DeviceTrace":
        """The part with begin <= t <= end."""
        return DeviceTrace(
            uuid=self.uuid,
            about=self.about,
            memory=self.memory.between(begin, end),
            load=self.load.between(begin, end),
            throttle=_throttled(self.throttle, begin, end),
            procs=_within(self.procs, begin, end),
            energy=_within(self.energy, begin, end),
            silent=self.silent,
        )


@dataclass(slots=True)
class Sampled:
    """All that the samplers of one run wrote."""

    devices: dict[str, DeviceTrace] = field(default_factory=dict)
    host: Columns = field(default_factory=_host)
    gaps: Columns = field(default_factory=_gaps)
    marks: list[Mark] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    _used: Series | None = None

    def device(self, uuid: str) -> DeviceTrace:
        """The trace of one device, made when first asked for."""
        return self.devices.setdefault(uuid, DeviceTrace(uuid))

    def between(self, begin: int, end: int) -> "Sampled":
        """The part with begin <= t <= end; of a gap, what of it lies there."""
        return Sampled(
            devices={uuid: trace.between(begin, end) for uuid, trace in self.devices.items()},
            host=self.host.between(begin, end),
            gaps=_clipped(self.gaps, begin, end),
            marks=_within(self.marks, begin, end),
            ends=self.ends,
        )

    def owned(self) -> list[DeviceTrace]:
        """The devices that a cell of this run owns."""
        return owned(self.devices.values())

    def used(self) -> Series:
        """Device memory in use, summed over the devices that a cell owns."""
        if self._used is None:
            self._used = total([trace.memory.series("used") for trace in self.owned()])
        return self._used

    def last(self) -> int | None:
        """The time of the newest memory reading."""
        times = [trace.memory.t[-1] for trace in self.devices.values() if len(trace.memory)]
        times += [self.host.t[-1]] if len(self.host) else []
        return max(times, default=None)


def sampled(records: Iterable[Record]) -> Sampled:
    """Collect the sampler's records; others are passed over."""
    seen = Sampled()
    handlers = _handlers(seen)
    adders: dict[str, tuple[Callable[[int], None], Callable[[float], None]]] = {}
    for record in records:
        if type(record) is Sample:  # nearly all records: spared every call that can be
            adder = adders.get(record.uuid)
            if adder is None:
                adder = adders[record.uuid] = seen.device(record.uuid).memory.adder()
            adder[0](record.t)
            adder[1](NULL if record.used is None else record.used)
            if record.used is None and record.why:
                seen.devices[record.uuid].silent[record.why["used"]] = None
        elif handler := handlers.get(type(record)):
            handler(record)
    return seen


def _handlers(seen: Sampled) -> dict[type[Record], Callable[[Any], None]]:
    device = seen.device

    def about(record: Device) -> None:
        device(record.uuid).about = record

    def load(record: Load) -> None:
        trace = device(record.uuid)
        trace.load.append(record.t, *(getattr(record, name) for name in LOAD))
        reasons = tuple(record.throttle or ())
        if reasons != (trace.throttle[-1][1] if trace.throttle else ()):
            trace.throttle.append((record.t, reasons))

    return {
        Device: about,
        Load: load,
        Procs: lambda record: device(record.uuid).procs.append(record),
        Energy: lambda record: device(record.uuid).energy.append(record),
        Host: lambda record: seen.host.append(record.t, *(getattr(record, name) for name in HOST)),
        Gap: lambda record: seen.gaps.append(record.t, record.missed, record.span),
        Mark: lambda record: seen.marks.append(record),
        End: lambda record: seen.ends.append(record),
    }


def _throttled(
    entries: list[tuple[int, tuple[str, ...]]], begin: int, end: int
) -> list[tuple[int, tuple[str, ...]]]:
    """The changes from `begin` on, after the state at `begin`: what never changes holds."""
    before = [(begin, reasons) for t, reasons in entries if t < begin]
    return before[-1:] + [entry for entry in entries if begin <= entry[0] <= end]


def _clipped(gaps: Columns, begin: int, end: int) -> Columns:
    """The gaps, each of which lasted from t - span to t, cut to what lies within."""
    part = _gaps()
    for t, missed, span in zip(gaps.t, *gaps.arrays, strict=True):
        inside = min(t, end) - max(t - span, begin)
        if inside > 0:
            part.append(min(t, end), round(missed * inside / span), inside)
    return part


def _within(records: list[R], begin: int, end: int) -> list[R]:
    return [record for record in records if begin <= record.t <= end]
