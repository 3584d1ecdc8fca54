"""What parity is asked to judge, and its answer: did each cell generate what the model says?"""

from typing import Any, Literal

from msgspec import Struct

from traces.messages import Message

Verdict = Literal["pass", "fail", "n/a"]


class Judging(Struct, kw_only=True, frozen=True):
    """The model, its requests, and what to judge: name to worker.jsonl. `reference` is one of them.

    A name in `points` is a run window of that name in the file's engine, others are whole cells.
    """

    model: str
    device: str
    dtype: str
    workload: str
    cells: dict[str, str]
    reference: str
    trust_remote_code: bool
    points: list[str] = []


class Parity(Struct, kw_only=True):
    """Output ids against the reference backend's, and the verdict with its evidence."""

    verdict: Verdict
    method: str
    reference: str
    identical: int
    compared: int
    first_divergence: dict[str, Any] | None = None
    max_regret: float | None = None
    mean_regret: float | None = None
    note: str = ""


class Judged(Message, frozen=True):
    """The verdict on each cell, by name."""

    parity: dict[str, Parity]
