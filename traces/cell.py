"""What the orchestrator writes about a cell into its folder: cell.json."""

from typing import Literal

from msgspec import Struct, field

from traces.job import Options, Point
from traces.owned import owned
from traces.parity import Parity
from traces.seal import Seal

Status = Literal[
    "ok",
    "oom",
    "failed",
    "crashed",
    "timeout",
    "unclean",
    "unsampled",
    "interrupted",
    "skipped",
    "invalid",
]


class ProcessOnDevice(Struct, kw_only=True, frozen=True):
    """A compute process on a device, and its bytes where the driver tells them."""

    pid: int
    bytes: int | None


class DeviceState(Struct, kw_only=True, frozen=True):
    """What is on a device at one instant; `why` has the reason of each null."""

    uuid: str
    used: int | None
    pids: list[ProcessOnDevice] | None
    why: dict[str, str] = {}


class Evidence(Struct, kw_only=True, frozen=True):
    """The devices as they were last seen, after so many seconds of waiting for clean ones."""

    devices: list[DeviceState]
    waited_s: float

    @property
    def used(self) -> int | None:
        """Bytes in use on the cell's own devices; None where there is none or one does not tell."""
        mine = owned(self.devices)
        used = [device.used for device in mine if device.used is not None]
        return sum(used) if used and len(used) == len(mine) else None


class Certificate(Struct, kw_only=True, omit_defaults=True):
    """Whether the devices were clean before the cell and after it; absent where not come to."""

    before: Evidence | None = None
    after: Evidence | None = None


class About(Struct, kw_only=True):
    """A cell: what was asked, and how it ended. `pid` is the worker's, `seconds` are in all.

    `folder` is the name of the cell's folder: a second attempt has another. `points` are the run
    windows in its engine, where it has several, and `parities` theirs by name. `sealed` are its
    traces by file name, its own and the sampler's, as they were when they were finished.
    """

    label: str
    backend: str
    options: Options = field(default_factory=dict)
    repeat: int = 0
    requests_asked: int | None = None
    folder: str = ""
    parity: Parity | None = None
    points: list[Point] = field(default_factory=list)
    parities: dict[str, Parity] = field(default_factory=dict)
    status: Status = "interrupted"
    reason: str = "stopped by the user"
    truncated: str = ""
    log_tail: list[str] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    certificate: Certificate = field(default_factory=Certificate)
    sealed: dict[str, Seal] = field(default_factory=dict)
    pid: int | None = None
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """The cell's name in the run."""
        return f"{self.label}.r{self.repeat}"
