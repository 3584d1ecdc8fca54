"""The result of a run: the types behind result.json and its JSON Schema.

Exact counts and settings come first and are reproducible; measured values follow; what changes
with every run whatever the code does (times, pids, paths, host names) is in `volatile`, last.
Bytes are int, seconds float, shares between 0 and 1. A null means "could not be had".

Schema history
    1  first version
    2  kv.step_efficiency: exact, beside the time-weighted efficiency; null in a result read from 1
    3  points: several run windows in one engine;
       kv.counted: when a token counts as stored; waste has what is scheduled ahead apart
       enough: the smallest KV cache that would do; status "invalid": an invariant is broken;
       device bytes of phases are above what was there before the cell
       work, ended: what a cell was offered, and that a deadline ended it; the run rate lasts to the
       last token or the deadline, beside it full-load rate and times between tokens
    4  layout: what the KV cache is made of, and what each device holds, no longer in engine
"""

from typing import Literal

from msgspec import Struct, field, structs

from measure.memory import Edge as Edge
from measure.memory import Enough as Enough
from measure.memory import How as How
from measure.memory import Ledger as Ledger
from measure.memory import Line as Line
from measure.memory import Phase as Phase
from measure.speed import Ended as Ended
from measure.speed import RequestRow as RequestRow
from measure.speed import Timing as Timing
from measure.speed import TokensBy as TokensBy
from measure.speed import Work as Work
from traces.cell import Status
from traces.layout import Layout
from traces.parity import Parity as Parity
from traces.parity import Verdict
from traces.records import FreeForm

SCHEMA_VERSION = 4

Counted = Literal["executing", "restated", "scheduled"]


class Model(Struct, kw_only=True):
    """What was run. `sha256` is over the weight and config files; shapes have none for weights."""

    name: str
    source: Literal["bundled", "hub", "folder", "shape"]
    sha256: str | None
    layers: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_position: int
    weights_bytes: int | None
    same_weights: bool
    """False for random weights drawn by each engine: no parity, memory and speed only."""


class Workload(Struct, kw_only=True):
    """The same token ids for every backend. `sha256` is over ids and lengths."""

    name: str
    sha256: str
    requests: int
    prompt_tokens: int
    output_tokens: int
    max_total: int
    """Longest prompt plus output of one request."""


class Kv(Struct, kw_only=True):
    """KV use over the run phase, time-weighted over the time when slots were held."""

    steps: int
    bytes_per_slot: int | None
    efficiency: float | None
    step_efficiency: float | None
    """The same share with every step weighted alike: counts only, so the machine's pace is not in
    it."""
    mean_live: float | None
    mean_reserved: float | None
    peak_live: int | None
    peak_reserved: int | None
    pool_slots: int | None
    bytes_held_per_live_token: float | None
    mean_running: float | None
    peak_running: int | None
    preempted: int
    waste: dict[str, "Share"] = field(default_factory=dict)
    """reservation, scheduled_ahead, internal, padding: parts of the slots held; external: on top
    of them."""
    counted: Counted = "scheduled"
    """When a token counts as stored: from the step on that computes it (restated: worked out from a
    trace that did not say so), or from when it was scheduled, as results before schema 3 have it
    where the engine schedules ahead."""
    full_batch_share: float | None = None
    """Of that time, the part in which as many requests ran as the engine takes at once."""
    block_size: int | None = None
    layout: str | None = None
    """dynamic, static, padded or paged."""
    peak_live_bytes: int | None = None
    peak_reserved_bytes: int | None = None
    pool_bytes: int | None = None


class Share(Struct, kw_only=True):
    """A part of a whole, and how it was obtained. `value` is null when n/a."""

    value: float | None
    how: How


class Check(Struct, kw_only=True):
    """Two independent numbers for the same thing."""

    name: str
    verdict: Verdict
    ours: float | None
    theirs: float | None
    note: str = ""


class Point(Struct, kw_only=True):
    """A run window of its own in a cell's engine. `changes` is what was changed for it."""

    label: str
    repeat: int
    changes: FreeForm
    requests_run: int | None = None
    truncated: str = ""
    ended: Ended | None = None
    output_tokens: int | None = None
    timing: Timing | None = None
    kv: Kv | None = None
    enough: Enough | None = None
    parity: Parity | None = None
    validity: list[Check] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    rows: list[RequestRow] = field(default_factory=list)


class Cell(Struct, kw_only=True):
    """One backend, with its options, on the workload, once (`repeat`)."""

    label: str
    backend: str
    options: FreeForm
    repeat: int
    status: Status
    reason: str = ""
    requests_run: int | None = None
    """The requests that ran to their end."""
    requests_asked: int
    truncated: str = ""
    """Why fewer requests than asked were offered; empty when all were."""
    work: Work | None = None
    """Null in older results, and where requests were left out."""
    ended: Ended | None = None
    """What ended the run before its work was done; the tokens that had come by then count."""
    output_tokens: int | None = None
    timing: Timing | None = None
    kv: Kv | None = None
    ledger: Ledger | None = None
    phases: list[Phase] = field(default_factory=list)
    device_after: int | None = None
    """Device memory in use once the cell's processes were gone, above what was before."""
    enough: Enough | None = None
    parity: Parity | None = None
    validity: list[Check] = field(default_factory=list)
    suspect: list[str] = field(default_factory=list)
    """What makes the numbers doubtful: throttling, foreign processes, gaps."""
    layout: Layout | None = None
    """How the engine laid its memory out; null where it did not live to say it."""
    engine: FreeForm = field(default_factory=dict)
    rows: list[RequestRow] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    """Run windows in this one engine, where it had several: then timing, kv, parity and rows are
    theirs, and memory is the engine's over all of them."""


class Result(Struct, kw_only=True):
    """One run: everything needed to show it, compare it, and do it again."""

    schema: int = SCHEMA_VERSION
    suite: FreeForm
    model: Model
    dtype: str
    device: Literal["cpu", "cuda"]
    workload: Workload
    environment: FreeForm
    cells: list[Cell]
    sampler: FreeForm = field(default_factory=dict)
    complete: bool
    volatile: FreeForm = field(default_factory=dict)

    @property
    def runs(self) -> list[Cell]:
        """Every run of the workload as a cell: of an engine with points, each of them."""
        return [run for cell in self.cells for run in (_of_points(cell) if cell.points else [cell])]


def _of_points(cell: Cell) -> list[Cell]:
    names = ("label", "repeat", "requests_run", "truncated", "ended", "output_tokens", "timing",
             "kv", "enough", "parity", "validity", "rows")  # fmt: skip
    return [
        structs.replace(
            cell, points=[], options={**cell.options, **point.changes},
            suspect=list(dict.fromkeys([*cell.suspect, *point.suspect])),
            **{name: getattr(point, name) for name in names},
        )
        for point in cell.points
    ]  # fmt: skip
