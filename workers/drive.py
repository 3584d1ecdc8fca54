"""Drive an engine: offer it requests, take the tokens as they come, end with the work or the time.

It knows no engine, and all are driven in the same way. The load is *closed* (every request at the
begin) or of a fixed *concurrency* (so many in flight, refilled at once). A budget is a deadline at
full load: everybody is offered everything, and when it has passed the rest is given up, with the
tokens that had come by then. The clock is handed in, so that tests need no time.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from traces import clock
from traces.errors import Problem
from traces.job import Prompt
from workers.backend import Backend, Came, Recorder

FOREVER = (1 << 63) - 1
STALLED_NS = 10 * 10**9  # steps without a token while nobody runs: no engine needs so long
REPORT_NS = 10**9 // 4  # between two words about progress: each goes over a pipe


class Outcome(NamedTuple):
    """How a run ended: requests that got all their tokens, and ns from the deadline to the end."""

    finished: int
    ended: Literal["deadline"] | None
    overshoot: int


@dataclass
class Flight:
    """A request that was offered: its times in ns, and the tokens that came."""

    prompt: Prompt
    arrive: int
    start: int | None = None
    first: int | None = None
    last: int | None = None
    token_ids: list[int] = field(default_factory=list)


def refuse(engine: Backend, prompts: Sequence[Prompt]) -> None:
    """Raise Problem for the first request that is longer than this engine takes.

    Engines would cut it in silence, or end for everybody.
    """
    for prompt in prompts:
        if prompt.total > engine.longest:
            raise Problem(
                f"request {prompt.id}: {prompt.total} tokens of prompt and output, where one "
                f"request may have {engine.longest}: raise kv_budget or max_length, or shorten it"
            )


def drive(
    engine: Backend, prompts: Sequence[Prompt], recorder: Recorder, *,
    concurrency: int | None = None, budget_s: float | None = None,
    report: Callable[[int], None] = lambda finished: None, now: Callable[[], int] = clock.now,
) -> Outcome:  # fmt: skip
    """Run the requests, in order, and record each; the engine is idle and empty afterwards.

    Raises Problem where one is too long, or no token came within `budget_s`.
    """
    refuse(engine, prompts)
    return _Run(engine, prompts, recorder, concurrency, budget_s, report, now).whole()


class _Run:
    """One run: what waits to be offered, and what is with the engine."""

    def __init__(
        self, engine: Backend, prompts: Sequence[Prompt], recorder: Recorder,
        concurrency: int | None, budget_s: float | None, report: Callable[[int], None],
        now: Callable[[], int],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._recorder = recorder
        self._report = report
        self._now = now
        self._offered = deque(prompts)
        self._most = concurrency or len(prompts)
        self._flying: dict[str, Flight] = {}
        self._budget_s = budget_s
        self._begin = self._reported = now()
        self._end = FOREVER if budget_s is None else self._begin + round(budget_s * 1e9)
        self._finished = self._tokens = 0
        self._late: int | None = None
        self._stalled: int | None = None

    def whole(self) -> Outcome:
        """Run to the end of the work, or to the deadline."""
        self._fill()
        while self._flying and self._now() < self._end:
            self._step()
        self._engine.cancel(self._tell)
        if not self._flying and not self._offered:
            return Outcome(self._finished, None, 0)
        overshoot = self._now() - self._end
        self._give_up()
        return Outcome(self._finished, "deadline", overshoot)

    def _step(self) -> None:
        """Let the engine go on. Raises RuntimeError when requests wait and none ever runs."""
        before = self._tokens
        works = self._engine.step(self._end, self._tell)
        if works or self._tokens > before:
            self._stalled = None
        elif self._stalled is None:
            self._stalled = self._now()
        elif self._now() - self._stalled > STALLED_NS:
            raise RuntimeError(f"{len(self._flying)} requests wait, and the engine runs none")

    def _tell(self, came: Sequence[Came]) -> bool:
        """Take what a step gave; answer whether the engine shall stop. Late tokens do not count."""
        for each in came:
            if each.t > self._end:
                self._late = self._late or each.t
                continue
            flight = self._flying[each.id]
            flight.token_ids += each.token_ids
            flight.start = flight.start or each.start
            flight.first = flight.first or each.t
            flight.last = each.t
            self._tokens += len(each.token_ids)
            if each.ended:
                self._record(self._flying.pop(each.id), None)
                self._finished += 1
        now = self._now()
        if now - self._reported >= REPORT_NS:
            self._reported = now
            self._report(self._finished)
        if now < self._end:
            self._fill()
        return now >= self._end

    def _fill(self) -> None:
        """Offer requests until so many are in flight as the load says; they are due now."""
        due = self._now()
        while self._offered and len(self._flying) < self._most:
            prompt = self._offered.popleft()
            self._flying[prompt.id] = Flight(prompt, due)
            self._engine.submit(prompt, due)

    def _give_up(self) -> None:
        """Record what had come of the rest; what the load never came to, as having got nothing."""
        if not self._tokens:
            late = self._late and f"took {(self._late - self._begin) / 1e9:.3g} s"
            ran = f"had not ended after {(self._now() - self._begin) / 1e9:.3g} s"
            raise Problem(
                f"no token came within the budget of {self._budget_s:g} s: the first forward pass "
                f"{late or ran}: raise the budget"
            )
        never = [Flight(prompt, self._end) for prompt in self._offered]
        for flight in [*self._flying.values(), *never]:
            self._record(flight, "deadline")

    def _record(self, flight: Flight, ended: Literal["deadline"] | None) -> None:
        self._recorder.request(
            flight.prompt, flight.token_ids, flight.arrive, flight.start, flight.first,
            flight.last, ended,
        )  # fmt: skip
