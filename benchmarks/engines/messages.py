"""What a process with both arms is asked, and what it says beside what every process does."""

from typing import Any

from msgspec import Struct

from traces.job import Job
from traces.messages import Message


class Comparing(Struct, frozen=True):
    """The work, the least seconds of a run of it, and how often each arm runs."""

    job: Job
    seconds: float
    repeats: int


class Measured(Message, frozen=True):
    """One run of one arm."""

    arm: str
    seconds: float
    tokens: int


class Compared(Message, frozen=True):
    """All runs are done; what else was found."""

    facts: dict[str, Any]
