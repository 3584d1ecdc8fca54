"""What a worker is asked to do: the model, the requests, and the settings, as plain data."""

from typing import Any

from msgspec import Struct

from traces.policy import Policy

Options = dict[str, Any]
"""Options of a backend by name: free-form, for each backend has its own."""


class Prompt(Struct, kw_only=True, frozen=True):
    """One request: prompt token ids and how many tokens to generate (end-of-sequence ignored)."""

    id: str
    prompt_ids: list[int]
    output_tokens: int
    text: str | None = None

    @property
    def total(self) -> int:
        """Length of prompt plus output in tokens."""
        return len(self.prompt_ids) + self.output_tokens


class Workload(Struct, kw_only=True, frozen=True):
    """The requests of a run, in order. `sha256` is over ids and lengths, not over texts."""

    name: str
    sha256: str
    requests: list[Prompt]


class Point(Struct, kw_only=True, frozen=True):
    """A run window of its own in a cell's engine: the same requests with something changed.

    `label` names the change, `kv_budget` is in bytes (None: the cell's own).
    """

    label: str
    repeat: int
    policy: Policy = "paged"
    kv_budget: int | None = None

    @property
    def name(self) -> str:
        """The window's name in the run, as a cell has one."""
        return f"{self.label}.r{self.repeat}"


class Job(Struct, kw_only=True, frozen=True):
    """One cell's work, as the orchestrator hands it to the worker process.

    `module` has the backend's `Worker`.
    `max_length` is the longest sequence the engine must be ready for, in tokens: what a static
    cache reserves per row. `random_weights` draws the weights (the folder holds a config only).
    `baseline_used` is device memory in bytes before this process started. `kv_budget` bounds KV
    bytes, `budget_s` the run phase in seconds. So many requests as `concurrency` says are in flight
    (None: all at once).
    """

    cell: str
    backend: str
    module: str
    options: Options
    model: str
    random_weights: bool
    dtype: str
    device: str
    workload: str
    folder: str
    max_length: int
    seed: int
    trust_remote_code: bool = False
    baseline_used: int | None = None
    kv_budget: int | None = None
    budget_s: float | None = None
    concurrency: int | None = None
    record_kv: bool = True
    points: list[Point] = []
    """Run windows in one engine, in this order; none: the workload is run once, as it is."""
