"""The metrics: what each is called, how it is read from a cell, and how it may be judged.

One row per metric, for everything that compares or lists numbers: diff, nightly, trend, export.
`exact` metrics are counts that the code determines, not the machine, or shares of such: they
compare at one repeat.
`tau` is the change that is tolerated, as a share; `gates` says whether a regression fails a diff
that did not name the metric. Metrics that repeat another one, or that are a setting of the
engine, are shown on request and never gate by themselves.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from measure.result import Cell
from traces.errors import Problem

Better = Literal["higher", "lower", "neither"]
Read = Callable[[Cell], float | None]

# The fewest queries from which the early stopping of MLPerf LoadGen states these percentiles.
P90_REQUESTS = 64
P99_REQUESTS = 662

# Speed: wide enough that a machine which drifts by 2 % is not accused, narrow enough that five
# repeats with a spread of 2 % show a slow-down of 10 % (python -m benchmarks.statistics).
SPEED = 0.04
OVER_TIME = 0.02

# Slots counted per step: each token of a request adds what its request has and holds by then,
# whichever step it falls in, so the order of an asynchronous scheduler hardly moves the share. A
# prefill in other chunks, a step of delay or a preemption does a little; one percent less is more.
PER_STEP = 0.005


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a cell. `requests` is how many requests it takes to mean anything."""

    name: str
    unit: str
    better: Better
    read: Read
    title: str
    exact: bool = False
    tau: float = 0.0
    gates: bool = True
    requests: int = 1

    def supported(self, requests: int | None) -> bool:
        """Say whether a run of so many requests gives this metric enough to gate on."""
        return (requests or 0) >= self.requests


def _part(part: str, name: str) -> Read:
    """Read a field of a part of the cell (timing, kv), or None where the cell has no such part."""

    def read(cell: Cell) -> float | None:
        owner: Any = getattr(cell, part)
        value: float | None = getattr(owner, name) if owner is not None else None
        return value

    return read


def _peak(name: str) -> Read:
    """Read the highest value that any phase reached."""

    def read(cell: Cell) -> float | None:
        known = [value for phase in cell.phases if (value := getattr(phase, name)) is not None]
        return max(known, default=None)

    return read


def _phase(name: str) -> Read:
    """Read how long a phase took."""
    return lambda cell: next((p.seconds for p in cell.phases if p.name == name), None)


def _waste(name: str) -> Read:
    def read(cell: Cell) -> float | None:
        share = cell.kv.waste.get(name) if cell.kv else None
        return share.value if share else None

    return read


def _line(name: str) -> Read:
    """Read a line of the memory ledger."""

    def read(cell: Cell) -> float | None:
        lines = cell.ledger.lines if cell.ledger else []
        return next((line.bytes for line in lines if line.name == name), None)

    return read


def _total(cell: Cell) -> float | None:
    return cell.ledger.total if cell.ledger else None


def _speed() -> Iterable[Metric]:
    t = "timing"
    yield Metric("output_tokens_per_s", "tok/s", "higher", _part(t, "output_tokens_per_s"),
                 "output throughput", tau=SPEED)  # fmt: skip
    yield Metric("total_tokens_per_s", "tok/s", "higher", _part(t, "total_tokens_per_s"),
                 "total throughput", tau=SPEED, gates=False)  # fmt: skip
    yield Metric("wall", "s", "lower", _part(t, "wall"), "run time", tau=SPEED, gates=False)
    for name, title in (("ttft", "time to first token"), ("tpot", "time per output token")):
        yield Metric(f"{name}_mean", "s", "lower", _part(t, f"{name}_mean"),
                     f"{title}, mean", tau=SPEED)  # fmt: skip
        yield Metric(f"{name}_p50", "s", "lower", _part(t, f"{name}_p50"),
                     f"{title}, median", tau=SPEED, gates=False)  # fmt: skip
        yield Metric(f"{name}_p90", "s", "lower", _part(t, f"{name}_p90"),
                     f"{title}, p90", tau=0.10, requests=P90_REQUESTS)  # fmt: skip
        yield Metric(f"{name}_p99", "s", "lower", _part(t, f"{name}_p99"),
                     f"{title}, p99", tau=0.10, requests=P99_REQUESTS)  # fmt: skip
    yield Metric("joules_per_token", "J", "lower", _part(t, "joules_per_token"),
                 "energy per token", tau=SPEED)  # fmt: skip
    for name in ("import", "load", "warmup"):
        yield Metric(f"{name}_s", "s", "lower", _phase(name), f"{name} phase",
                     tau=0.20, gates=False)  # fmt: skip


def _kv() -> Iterable[Metric]:
    """Counts of slots are exact; means over time are measured, since the machine sets the pace."""
    k = "kv"
    yield Metric("kv_efficiency", "share", "higher", _part(k, "efficiency"),
                 "KV efficiency", tau=OVER_TIME)  # fmt: skip
    yield Metric("kv_step_efficiency", "share", "higher", _part(k, "step_efficiency"),
                 "KV efficiency per step", exact=True, tau=PER_STEP)  # fmt: skip
    yield Metric("kv_bytes_per_live_token", "B", "lower", _part(k, "bytes_held_per_live_token"),
                 "KV bytes held per live token", tau=OVER_TIME, gates=False)  # fmt: skip
    yield Metric("kv_mean_reserved", "slots", "lower", _part(k, "mean_reserved"),
                 "KV slots held, mean", tau=OVER_TIME, gates=False)  # fmt: skip
    yield Metric("kv_peak_reserved", "slots", "lower", _part(k, "peak_reserved"),
                 "KV slots held, peak", exact=True)  # fmt: skip
    yield Metric("kv_bytes_per_slot", "B", "lower", _part(k, "bytes_per_slot"),
                 "KV bytes per slot", exact=True)  # fmt: skip
    yield Metric("kv_peak_live", "tokens", "neither", _part(k, "peak_live"),
                 "live tokens, peak", exact=True, gates=False)  # fmt: skip
    yield Metric("kv_pool_slots", "slots", "neither", _part(k, "pool_slots"),
                 "KV pool", exact=True, gates=False)  # fmt: skip
    yield Metric("peak_running", "requests", "higher", _part(k, "peak_running"),
                 "requests in flight, peak", exact=True, gates=False)  # fmt: skip
    yield Metric("preempted", "times", "lower", _part(k, "preempted"),
                 "preemptions", exact=True, gates=False)  # fmt: skip
    for name in ("reservation", "internal", "padding", "external"):
        yield Metric(f"waste_{name}", "share", "lower", _waste(name), f"waste, {name}",
                     tau=OVER_TIME, gates=False)  # fmt: skip


def _memory() -> Iterable[Metric]:
    yield Metric("device_peak", "B", "lower", _peak("device_peak"),
                 "device memory, peak", tau=0.01)  # fmt: skip
    yield Metric("host_peak", "B", "lower", _peak("host_peak"),
                 "host memory, peak", tau=0.05)  # fmt: skip
    yield Metric("weights", "B", "lower", _line("weights"), "weights", exact=True)
    yield Metric("kv_memory", "B", "neither", _line("KV"), "KV memory taken", exact=True,
                 gates=False)  # fmt: skip
    yield Metric("activations", "B", "lower", _line("activations"), "activations",
                 tau=0.05, gates=False)  # fmt: skip
    yield Metric("ledger_total", "B", "lower", _total, "memory in the ledger",
                 tau=0.05, gates=False)  # fmt: skip


METRICS: tuple[Metric, ...] = (*_speed(), *_kv(), *_memory())
_BY_NAME = {metric.name: metric for metric in METRICS}


def get(name: str) -> Metric:
    """Return the metric called `name`, or say which name is nearest."""
    if metric := _BY_NAME.get(name):
        return metric
    near = get_close_matches(name, _BY_NAME, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(_BY_NAME)}"
    raise Problem(f"no metric {name!r}: {hint}")


def values(metric: Metric, cells: Iterable[Cell]) -> list[float]:
    """The metric of every repeat that ran to its end and has it, in the order of the repeats."""
    ran = sorted((cell for cell in cells if cell.status == "ok"), key=lambda cell: cell.repeat)
    try:
        return [float(value) for cell in ran if (value := metric.read(cell)) is not None]
    except OverflowError:
        raise Problem(f"{metric.name}: a result holds a number that is too large") from None


def show(value: float, unit: str) -> str:
    """Write a value with its unit, to about four digits, as a person would."""
    if unit == "B" and value >= 1024:
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    if unit == "s" and 0 < value < 1:
        return f"{value * 1e3:.4g} ms"
    if unit == "share":
        return f"{value * 100:.2f} %"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,} {unit}"
    return f"{value:.4g} {unit}" if abs(value) < 1e3 else f"{value:,.0f} {unit}"


def _scaled(value: float, step: int, units: tuple[str, ...]) -> str:
    for unit in units:
        if value < step or unit == units[-1]:
            break
        value /= step
    return f"{value:.4g} {unit}" if value < 1000 else f"{value:.0f} {unit}"
