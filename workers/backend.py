"""What every backend offers to the loop that measures it, and what the loop offers it."""

import time
from typing import NamedTuple, Protocol

from traces import clock
from traces.facts import EngineFacts, to_values
from traces.job import Point, Prompt
from traces.layout import Layout
from traces.records import Alloc, Blocks, Facts, Kv, LaidOut, Request, Slots
from traces.writer import Writer
from workers.ids import sha256


class Span(NamedTuple):
    """A request's decoding: ns of its first and of its last token, and the steps between them."""

    first: int
    last: int
    steps: int


class Recorder:
    """The backend's side of the trace: one method a record, each a few microseconds."""

    def __init__(self, writer: Writer, record_kv: bool) -> None:
        self._writer = writer
        self._record_kv = record_kv
        self._step = 0
        self._memory: dict[str, int] = {}
        self.arrive = 0
        self.finished = 0
        self.spans: list[Span] = []

    def kv(self, t: int, slots: Slots, pool: int | None = None, **counts: int | None) -> None:
        """Record a step's slots of the only group; `pool` are all there are, if more than held.

        `t` is when the step began, in ns; its own tokens are stored. `counts` are fields of `Kv`.
        """
        if self._record_kv:
            self._step += 1
            self._writer.write(
                Kv(t=t, step=self._step, groups=[slots], pool=slots.held if pool is None else pool,
                   **counts)  # type: ignore[arg-type]
            )  # fmt: skip

    def memory(self, t: int, state: dict[str, int]) -> None:
        """Record the allocator at a step that began at `t`, where it differs from the last one."""
        if self._record_kv and state and state != self._memory:
            self._memory = state
            self._writer.write(Alloc(t=t, where="step", **state))  # type: ignore[arg-type]

    def blocks(
        self, t: int, request: str, gained: list[int], lost: list[int], stored: int | None = None
    ) -> None:
        """Record that a request gained or lost physical blocks (or rows).

        With `stored` tokens, by the engine's own counter, its last step has ended.
        """
        if self._record_kv:
            blocks = Blocks(t=t, request=request, gained=gained, lost=lost, stored=stored)
            self._writer.write(blocks)

    def request(
        self, prompt: Prompt, token_ids: list[int], start: int | None, first: int | None,
        last: int | None, why: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Record a finished request; counts are of the ids the engine really returned."""
        self.finished += 1
        if first is not None and last is not None and len(token_ids) > 1:
            self.spans.append(Span(first, last, len(token_ids) - 1))
        self._writer.write(
            Request(
                t=clock.now(), id=prompt.id, prompt_tokens=len(prompt.prompt_ids),
                output_tokens=len(token_ids), arrive=self.arrive, start=start, first=first,
                last=last, token_ids=token_ids, token_ids_sha256=sha256(token_ids), why=why,
            )
        )  # fmt: skip

    def alloc(self, where: str, **values: int | None) -> None:
        """Record the allocator's state at a named moment."""
        values = {"allocated": None, "reserved": None, "inactive_split": None, **values}
        self._writer.write(Alloc(t=clock.now(), where=where, **values))  # type: ignore[arg-type]

    def layout(self, layout: Layout) -> None:
        """Record how the engine's memory is laid out: once, when it is warm."""
        self._writer.write(LaidOut(t=clock.now(), layout=layout))

    def facts(self, facts: EngineFacts) -> None:
        """Record sizes and settings; later ones win."""
        self._writer.write(Facts(t=clock.now(), values=to_values(facts)))

    def flush(self) -> None:
        """Hand what is queued to the kernel."""
        self._writer.flush()


class Backend(Protocol):
    """One way to generate. The loop calls these in this order, each in its phase.

    A backend's module has a class `Worker` with this shape; `Worker(job, recorder)` must import
    nothing heavy.
    """

    def import_engine(self) -> None:
        """Import the engine and open the device (phase "import")."""

    def load(self) -> None:
        """Load the weights and take what the engine takes up front (phase "load")."""

    def batch_size(self, prompts: list[Prompt]) -> int:
        """Return how many requests one `generate` call takes."""

    def generate(self, prompts: list[Prompt]) -> None:
        """Run the requests to their full length and record each (phases "warmup" and "run")."""

    def arrange(self, point: Point) -> None:
        """Change the engine for the run window that follows; only where the backend sweeps.

        Raises RuntimeError where something of the window before is left in it.
        """

    def memory(self, where: str) -> None:
        """Record the allocator's state; called at phase edges."""

    def layout(self) -> Layout:
        """Return how the memory is laid out, by the engine's own tensors; asked once, when warm."""

    def facts(self) -> EngineFacts:
        """Return sizes and settings as the engine has them after the run."""

    def close(self) -> None:
        """Give back the device (phase "teardown")."""


class Deadline:
    """The run phase's time budget: may another batch start?"""

    def __init__(self, budget_s: float | None) -> None:
        self._end = None if budget_s is None else time.monotonic() + budget_s
        self._longest = 0.0
        self._begun = time.monotonic()

    def allows_another(self) -> bool:
        """Whether a batch as long as the longest so far would still end in time."""
        now = time.monotonic()
        self._longest = max(self._longest, now - self._begun)
        self._begun = now
        return self._end is None or now + self._longest <= self._end
