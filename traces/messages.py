"""What the orchestrator and a process it started say to each other: one type a message.

A process says Hello, and Failed when it ends badly. A worker says Phase, Ready, Progress and Done,
and hears Go. Prepare, parity and the sampler answer with types of their own (see preparing,
parity, sampling). Everybody hears Stop.
"""

from typing import Literal

from msgspec import Struct

Edge = Literal["begin", "end"]


class Message(Struct, frozen=True, kw_only=True, tag_field="kind", tag=str.lower):
    """One message, whichever way it goes; written down, `kind` says which."""


class Hello(Message, frozen=True):
    """A process runs, in a session of its own."""

    pid: int
    session: int


class Failed(Message, frozen=True):
    """It ends without having done its work: the error's type, and one line of it."""

    error: str
    message: str
    status: Literal["failed", "oom"] = "failed"


class Phase(Message, frozen=True):
    """A phase of a worker, or of the preparing, begins or ends."""

    name: str
    edge: Edge


class Ready(Message, frozen=True):
    """A worker is warm, and waits for Go."""


class Progress(Message, frozen=True):
    """So many are done, of so many."""

    done: int
    of: int


class Done(Message, frozen=True):
    """A worker has run its requests; `truncated` says why not all, empty when all.

    `ended` says that the time was over before the work.
    """

    requests_run: int
    truncated: str
    ended: Literal["deadline"] | None = None


class Go(Message, frozen=True):
    """To a worker: go on, to the run or from its end to the teardown."""


class Stop(Message, frozen=True):
    """To anyone: end in order."""
