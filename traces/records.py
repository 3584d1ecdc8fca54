"""The trace records: what each JSONL line holds.

A line is `{"v": 2, "k": kind, "t": monotonic ns, ...fields}`. The first line of a file is its
`header`. A value that could not be had is null, never 0, and `why` names the reason by field. Sizes
are bytes, times nanoseconds on the monotonic clock, unless the name says otherwise.

Format history
    1  first version
    2  kv by group; sizes in a layout of their own (1 is read as one group: `traces.upgrade`)
"""

from typing import Any, Literal

from msgspec import Struct, field

from traces.layout import Layout

FORMAT_VERSION = 2
FreeForm = dict[str, Any]
"""What is kept as it was said: settings, versions, notes, what a driver tells of its device."""


class Record(Struct, kw_only=True, omit_defaults=True, tag_field="k", gc=False):
    """What every record has: its time and, for null fields, the reasons."""

    t: int
    why: dict[str, str] | None = None


class Header(Record, kw_only=True, omit_defaults=True, gc=False, tag="header"):
    """First line of a file: the clock, the boot, and who wrote it."""

    format: int = FORMAT_VERSION
    clock: str
    boot_id: str
    wall_ns: int
    host: str
    pid: int
    writer: str
    meta: FreeForm = field(default_factory=dict)


class Phase(Record, kw_only=True, omit_defaults=True, gc=False, tag="phase"):
    """Begin or end of a worker's phase (import, load, warmup, run, teardown), of one `point`."""

    name: str
    edge: str
    point: str | None = None


class Slots(Struct, array_like=True, gc=False):
    """A group's slots (token positions, over its layers) at one engine step; a list in the trace.

    `stored` are computed, or being computed by the step under way, for requests that run and hold
    `held`. `shared`: saved by sharing, in several tables at once. `pad`: pads and finished rows
    within the held. `ahead`: to be stored by a step that is scheduled ahead.
    """

    held: int
    stored: int
    shared: int = 0
    pad: int = 0
    ahead: int = 0


class Kv(Record, kw_only=True, omit_defaults=True, gc=False, tag="kv"):
    """The KV cache at one engine step: slots by group of the layout, `pool` taken from the device.

    Several records may tell of one step; each holds until the next. The first says how many tokens
    the step `computed` and `produced`, where the engine does. Nobody holds the `free_blocks`.
    """

    step: int
    groups: list[Slots]
    pool: int
    running: int
    waiting: int = 0
    preempted: int = 0
    free_blocks: int | None = None
    computed: int | None = None
    produced: int | None = None


class Blocks(Record, kw_only=True, omit_defaults=True, gc=False, tag="blocks"):
    """Blocks (or rows) a request gained or lost; what it had `stored` when its last step ended."""

    request: str
    gained: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    stored: int | None = None


class Request(Record, kw_only=True, omit_defaults=True, gc=False, tag="request"):
    """One request: arrived, first worked on, first token, last token.

    `token_ids_sha256` is over the output ids as little-endian int32. One that was `ended` when the
    time was over has the tokens that had come by then.
    """

    id: str
    prompt_tokens: int
    output_tokens: int
    arrive: int
    start: int | None
    first: int | None
    last: int | None
    token_ids: list[int]
    token_ids_sha256: str
    ended: Literal["deadline"] | None = None


class Alloc(Record, kw_only=True, omit_defaults=True, gc=False, tag="alloc"):
    """Torch's allocator: bytes in tensors, in segments, and free inside split segments.

    `where`: a phase edge ("load.end"), or "step", whose time is its begin and whose bytes are those
    at its end. `peak_*` are since the begin of the run phase, or of the step where it has them.
    `device` counts those that the cell sees.
    """

    where: str
    device: int = 0
    allocated: int | None
    reserved: int | None
    inactive_split: int | None
    peak_allocated: int | None = None
    peak_reserved: int | None = None


class LaidOut(Record, kw_only=True, omit_defaults=True, gc=False, tag="layout"):
    """How the engine's memory is laid out, said once when it is loaded and warm."""

    layout: Layout


class Facts(Record, kw_only=True, omit_defaults=True, gc=False, tag="facts"):
    """Sizes and settings the engine reported about itself, by name."""

    values: FreeForm


class Device(Record, kw_only=True, omit_defaults=True, gc=False, tag="device"):
    """A GPU the sampler watches: what does not change. `index` is NVML's, `uuid` identifies it."""

    uuid: str
    index: int
    name: str | None
    memory_total: int | None
    driver: str | None
    meta: FreeForm = field(default_factory=dict)


class Sample(Record, kw_only=True, omit_defaults=True, gc=False, tag="sample"):
    """Device memory at one instant (NVML memory v2: `reserved` is the driver's, not in `used`)."""

    uuid: str
    used: int | None
    free: int | None
    reserved: int | None


class Load(Record, kw_only=True, omit_defaults=True, gc=False, tag="load"):
    """Device load at one instant: slower to change, sampled more rarely than memory.

    Utilisation in percent over NVML's own window (1/6 to 1 s), power in watts (a 1 s average on
    Ampere and later), clocks in MHz, temperature in degrees Celsius, throttle reasons as names.
    """

    uuid: str
    gpu_util: int | None
    mem_util: int | None
    power_w: float | None
    sm_clock: int | None
    mem_clock: int | None
    temperature: int | None
    throttle: list[str] | None


class Procs(Record, kw_only=True, omit_defaults=True, gc=False, tag="procs"):
    """Compute processes on a device: pid to bytes (null where NVML will not say)."""

    uuid: str
    pids: dict[str, int | None] | None
    ours: int | None
    # Bytes of the watched process tree; else the growth of the device, and `why` says so.
    foreign: list[int]


class Energy(Record, kw_only=True, omit_defaults=True, gc=False, tag="energy"):
    """A device's total energy counter in millijoules, read at phase edges."""

    uuid: str
    total_mj: int | None
    where: str


class Host(Record, kw_only=True, omit_defaults=True, gc=False, tag="host"):
    """Memory and time of the watched process tree, and of its host.

    Between full readings there is the tree's `rss` alone. `steal_s` is the CPU time that the host's
    own host gave to others, `switches` counts how often the tree's processes (their main threads)
    had to leave a processor that they still wanted. Both are read once a second and at edges.
    """

    rss: int | None
    pss: int | None = None
    processes: int
    cpu_s: float | None = None
    major_faults: int | None = None
    minor_faults: int | None = None
    host_used: int | None = None
    host_total: int | None = None
    load1: float | None = None
    steal_s: float | None = None
    switches: int | None = None


class Mark(Record, kw_only=True, omit_defaults=True, gc=False, tag="mark"):
    """The sampler was told that a phase began or ended: `watching` is the tree's root pid."""

    cell: str
    phase: str
    edge: str
    watching: int | None


class Gap(Record, kw_only=True, omit_defaults=True, gc=False, tag="gap"):
    """Ticks the sampler missed, ending at `t`: how many, over how long."""

    missed: int
    span: int
    cause: str


class End(Record, kw_only=True, omit_defaults=True, gc=False, tag="end"):
    """Last line of a sampler that stopped in order: what it achieved and what it cost."""

    ticks: int
    missed: int
    rate_hz: float
    jitter_p50: int | None
    jitter_p99: int | None
    cpu_s: float


AnyRecord = (
    Header | Phase | Kv | Blocks | Request | Alloc | LaidOut | Facts
    | Device | Sample | Load | Procs | Energy | Host | Mark | Gap | End
)  # fmt: skip
