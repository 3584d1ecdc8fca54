"""What a run tells whoever shows it, one type an event; some are a process's own messages."""

from collections.abc import Callable

from msgspec import Struct

from orchestrator.sampler import SamplerProcess
from traces.cell import About
from traces.messages import Phase, Progress
from traces.preparing import Note


class Planned(Struct, frozen=True):
    """These cells are to be run, into this folder."""

    cells: list[str]
    folder: str


class Known(Struct, frozen=True):
    """The device is chosen, and the requests are drawn: so many output tokens a cell."""

    device: str
    output_tokens: int


class Estimated(Struct, frozen=True):
    """The whole run will take about so long."""

    seconds: float


class CellBegins(Struct, frozen=True):
    """A cell begins; the sampler can be asked about memory."""

    name: str
    sampler: SamplerProcess


class WorkerStarted(Struct, frozen=True):
    """The cell's worker process runs."""

    pid: int


class CellEnded(Struct, frozen=True):
    """A cell has ended, in this way."""

    about: About


class RunInterrupted(Struct, frozen=True):
    """The user ended the run."""


class Tick(Struct, frozen=True):
    """A moment passed in which nothing happened, or what did needs no showing."""


Event = (
    Planned | Known | Estimated | CellBegins | WorkerStarted | Phase | Progress | CellEnded
    | RunInterrupted | Note | Tick
)  # fmt: skip
Show = Callable[[Event], None]
