"""What the sampler is asked to do, and what it and the orchestrator say while it does.

It says Watching when it is ready, Marked and State when asked, Readings as often as its settings
say, and Sampled as it ends. It hears Mark, Look and Stop.
"""

from msgspec import Struct

from traces.cell import DeviceState
from traces.messages import Edge, Message
from traces.records import Device, End


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds between readings of each kind, which devices to watch, and whom to follow.

    `ticker` is where monitor/ticker.c lies compiled; without it `no_ticker` says why, and a GPU
    cannot be watched. `host_interval_s` None chooses 0.1 s without a GPU, where the tree's
    resident memory is read every `interval_s`, and 0.2 s with one.
    `pss_interval_s` 0 means at phase ends only; None chooses 1 s without a GPU (PSS is what the
    ledger closes against there) and 5 s with one. `gpus` names devices by index or UUID and wins
    over `cuda_visible_devices`, which is the environment's unless given. `marker` names an
    environment variable that every descendant of a watched process inherits. `watching` is the
    pid to follow from the start, before any mark. `progress_interval_s` asks for Readings.
    """

    path: str
    ticker: str | None = None
    no_ticker: str = "monitor/ticker.c is not compiled"
    interval_s: float = 0.01
    slow_interval_s: float = 0.2
    procs_interval_s: float = 1.0
    host_interval_s: float | None = None
    pss_interval_s: float | None = None
    progress_interval_s: float | None = None
    gpus: list[int | str] | None = None
    cuda_visible_devices: str | None = None
    marker: str | None = "PAGEDBENCH_MARK"
    watching: int | None = None


class Watching(Message, frozen=True):
    """It samples these devices; `reason` says why none, or fewer than were meant."""

    devices: list[Device]
    reason: str | None


class Mark(Message, frozen=True):
    """To the sampler: a phase begins or ends; read the dear values, of this pid's tree.

    With `reply` it answers Marked when they are read.
    """

    cell: str
    phase: str
    edge: Edge
    watching: int | None
    reply: bool = False


class Marked(Message, frozen=True):
    """What is read at this edge has been read, by then (ns)."""

    cell: str
    phase: str
    edge: Edge
    t: int


class Look(Message, frozen=True):
    """To the sampler: answer with State."""


class State(Message, frozen=True):
    """What is on each device now, at `t` (ns)."""

    devices: list[DeviceState]
    t: int


class DeviceNow(Struct, kw_only=True, frozen=True):
    """A device's latest readings, and the highest since the last message. Bytes, percent, watts.

    `silent_s` is how long ago memory was read, which tells of a driver that hangs.
    """

    uuid: str
    used: int | None
    highest: int | None
    silent_s: float
    why: str | None
    total: int | None
    gpu_util: int | None
    power_w: float | None


class HostNow(Struct, kw_only=True, frozen=True):
    """The tree's and the host's latest readings, in bytes; null where there is no tree."""

    rss: int | None = None
    processes: int | None = None
    cpu_s: float | None = None
    host_used: int | None = None
    host_total: int | None = None


class Readings(Message, frozen=True):
    """Where memory stands, by the latest readings."""

    devices: list[DeviceNow]
    host: HostNow


class Sampled(Message, frozen=True):
    """It has ended in order, with this account."""

    account: End
