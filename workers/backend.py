"""What every backend offers to the loop that measures it, and what the loop offers it."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from traces import clock
from traces.facts import EngineFacts, to_values
from traces.job import Point, Prompt
from traces.layout import Layout
from traces.records import Alloc, Blocks, Facts, Kv, LaidOut, Request, Slots
from traces.writer import Writer
from workers.ids import sha256


class Came(NamedTuple):
    """Tokens of one request that were ready at `t` ns, and whether they were its last.

    `start` is when the request was first worked on, in ns, where the engine knows.
    """

    id: str
    token_ids: list[int]
    t: int
    ended: bool
    start: int | None


Tell = Callable[[Sequence[Came]], bool]
"""Takes what a step gave, and answers whether the engine shall stop."""


class Recorder:
    """The backend's side of the trace: one method a record, each a few microseconds."""

    def __init__(self, writer: Writer, record_kv: bool) -> None:
        self._writer = writer
        self._record_kv = record_kv
        self._step = 0
        self._memory: dict[str, int] = {}

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
        self, prompt: Prompt, token_ids: list[int], arrive: int, start: int | None,
        first: int | None, last: int | None, ended: Literal["deadline"] | None = None,
    ) -> None:  # fmt: skip
        """Record a request; counts are of the ids the engine really returned."""
        self._writer.write(
            Request(
                t=clock.now(), id=prompt.id, prompt_tokens=len(prompt.prompt_ids),
                output_tokens=len(token_ids), arrive=arrive, start=start, first=first,
                last=last, token_ids=token_ids, token_ids_sha256=sha256(token_ids), ended=ended,
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
    """One way to generate: a session that workers.drive drives.

    A backend's module has a class `Worker` with this shape; `Worker(job, recorder)` must import
    nothing heavy. All is called in the main thread. The engine records its steps; the requests
    are recorded by who drives it.
    """

    longest: int
    """Tokens that one request may have, prompt and output; known once the engine is open."""

    def prepare(self) -> None:
        """Import the engine and open the device (phase "import")."""

    def open(self) -> None:
        """Load the weights and take what the engine takes up front (phase "load")."""

    def submit(self, prompt: Prompt, due: int) -> None:
        """Queue a request that is due since `due` ns; the engine takes it when it can.

        It gets its full length, end-of-sequence ignored. May be called from within `tell`.
        """

    def step(self, until: int, tell: Tell) -> bool:
        """Go on until something came, or until `until` ns and one forward pass at most.

        What came is told at once. An engine of whole batches goes on with its batch until that is
        done, or `tell` answers that it shall stop. Returns whether any request is being worked on.
        """

    def cancel(self, tell: Tell) -> None:
        """Tell what came, give up the rest, and come to rest: idle, with no prefix remembered."""

    def memory(self, where: str) -> None:
        """Record the allocator's state; called at phase edges."""

    def layout(self) -> Layout:
        """Return how the memory is laid out, by the engine's own tensors; asked once, when warm."""

    def facts(self) -> EngineFacts:
        """Return sizes and settings as the engine has them after the run."""

    def close(self) -> None:
        """Give back the device (phase "teardown")."""


class Swept(Backend, Protocol):
    """One that can be changed between the run windows of one engine, where a suite sweeps."""

    def arrange(self, point: Point) -> None:
        """Change the engine for the run window that follows.

        Raises RuntimeError where something of the window before is left in it.
        """
