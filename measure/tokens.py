"""Which step gave how many tokens, and the rate while the engine was fully loaded.

*Full load* lasts from the first to the last step with at least 0.8 of the most requests in flight.
What is before and after is filling up and running dry: it says how the load ended, not how fast the
engine is. Where steps say how many tokens they produced, these are counted. Older traces do not;
then a request's tokens after its first are spread evenly up to its last.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from measure.columns import Bools, Columns, Floats, Ints
from measure.timeline import Timeline
from traces.records import Request

FULL = 0.8  # of the most in flight
LEAST_S, LEAST_STEPS = 5.0, 50
SECOND = 1e9


@dataclass(frozen=True, slots=True)
class TokenSteps:
    """Steps in order: begin and end in ns, requests in flight, tokens that came out (or null)."""

    begin: Ints
    end: Ints
    running: Floats
    produced: Floats

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def known(self) -> bool:
        """Whether every step says how many tokens it gave."""
        return bool(len(self)) and not np.isnan(self.produced).any()

    def where(self, kept: Bools) -> "TokenSteps":
        """Some of the steps."""
        return TokenSteps(self.begin[kept], self.end[kept], self.running[kept], self.produced[kept])


@dataclass(frozen=True, slots=True)
class FullLoad:
    """The time under full load in ns, and the tokens that came in it; `why` it has no rate."""

    begin: int = 0
    end: int = 0
    tokens: float | None = None
    why: str = ""

    @property
    def rate(self) -> float | None:
        """Tokens a second."""
        return None if self.tokens is None else self.tokens / (self.end - self.begin) * SECOND


def token_steps(timeline: Timeline, until: int | None = None) -> TokenSteps:
    """The steps of the run phase that had ended at `until` ns, if that is given.

    Of several records of a step the first says when it began, who is in it, and what came.
    """
    begin, end = timeline.window("run") or (0, 0)
    kv = timeline.kv.between(begin, end)
    first = step_places(kv)
    t = kv.times()[first]
    found = TokenSteps(
        t, np.append(t[1:], end)[: len(first)], kv.column("running")[first],
        kv.column("produced")[first],
    )  # fmt: skip
    return found.where((found.running > 0) & (found.end <= (end if until is None else until)))


def step_places(kv: Columns) -> NDArray[np.intp]:
    """Where the records are with which a step began to execute, or that found the engine idle."""
    return np.flatnonzero(
        (kv.column("running") == 0) | (np.diff(kv.column("step"), prepend=-1) != 0)
    )


def full_load(steps: TokenSteps, requests: list[Request]) -> FullLoad:
    """The full load of a run, whose requests are needed where steps do not say what they gave."""
    if not len(steps):
        return FullLoad(why="no step was recorded")
    full = np.flatnonzero(steps.running >= FULL * steps.running.max())
    first, last = int(full[0]), int(full[-1])
    begin, end, count = int(steps.begin[first]), int(steps.end[last]), last - first + 1
    if (seconds := (end - begin) / SECOND) < LEAST_S or count < LEAST_STEPS:
        least = f"needs {LEAST_S:g} s and {LEAST_STEPS}"
        return FullLoad(why=f"full load lasted {seconds:.3g} s and {count} steps, {least}")
    produced = steps.produced[first : last + 1]
    tokens = float(produced.sum()) if steps.known else derived(requests, begin, end)
    why = "" if tokens is not None else "when the tokens came is not known"
    return FullLoad(begin, end, tokens, why)


def derived(requests: list[Request], begin: int, end: int) -> float | None:
    """Tokens that came in this time, each request's spread evenly; None where one has no times."""
    total = 0.0
    for request in requests:
        first = request.start if request.first is None else request.first
        if not request.output_tokens:
            continue
        if first is None or request.last is None:
            return None
        total += begin < first <= end
        part = min(end, request.last) - max(begin, first)
        if part > 0:
            total += (request.output_tokens - 1) * part / (request.last - first)
    return total
