"""The metrics: what each is called, how it is read from a cell, written, and judged.

One row per metric, for everything that shows, compares or lists numbers: tables, diff, nightly,
trend, export. Repeats of every metric are averaged in one way, `stats.summarize`.
`exact` metrics are counts that the code determines, not the machine, or shares of such: they
compare at one repeat.
`tau` is the change that is tolerated, as a share; `gates` says whether a regression fails a diff
that did not name the metric. Metrics that repeat another one, or that are a setting of the
engine, are shown on request and never gate by themselves. Those that are not `listed` stand in
the table side by side alone: they are not judged, and not exported.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from compare import readings as of
from compare.readings import Read
from measure.result import Cell
from traces import units
from traces.errors import Problem

Better = Literal["higher", "lower", "neither"]

BASELINE = "hf-sequential"
RUN_RATE, FULL_RATE = "output_tokens_per_s", "full_load_tokens_per_s"

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


# Slots at their peak, where requests reach the engine's own process one by one while it steps: by
# which step how many are there moved the peak by 10 blocks of some 3,000 when it was replayed.
ARRIVING = 0.005


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a cell. `requests` is how many requests it takes to mean anything."""

    name: str
    unit: str
    better: Better
    read: Read
    title: str
    heading: str = ""
    """Its row in the table side by side, where that is not its title."""
    exact: bool = False
    tau: float = 0.0
    tau_apart: float = 0.0
    """The change that is tolerated where the engine has a process of its own, if that is more."""
    gates: bool = True
    listed: bool = True
    requests: int = 1
    of_stored: bool = False
    """It depends on when a token counts as stored (`Kv.counted`)."""
    of_part: bool = False
    """It is no sum over the work: where a deadline ended a run, it still says the same."""
    over: str = ""
    """The backend whose mean of the same rate it is divided by in the table."""

    def supported(self, requests: int | None) -> bool:
        """Say whether a run of so many requests gives this metric enough to gate on."""
        return (requests or 0) >= self.requests

    def tolerance(self, cells: Iterable[Cell]) -> float:
        """The change that is tolerated between these cells, as a share."""
        apart = any(cell.engine.get("engine_process") is True for cell in cells)
        return max(self.tau, self.tau_apart) if apart else self.tau

    def write(self, value: float | None) -> str:
        """The value as it stands in a table, under a heading."""
        return units.write(value, self.unit)


def _shown(
    name: str, unit: str, read: Read, title: str, *,
    exact: bool = False, over: str = "", of_stored: bool = False,
) -> Metric:  # fmt: skip
    """A row of the table, and nothing else."""
    return Metric(
        name,
        unit,
        "neither",
        read,
        title,
        exact=exact,
        gates=False,
        listed=False,
        over=over,
        of_stored=of_stored,
    )


def _speed() -> Iterable[Metric]:
    def timing(name: str) -> Read:
        return of.part("timing", name)

    yield Metric(RUN_RATE, "tok/s", "higher", timing(RUN_RATE), "output throughput", "run rate",
                 tau=SPEED, of_part=True)  # fmt: skip
    yield Metric(FULL_RATE, "tok/s", "higher", timing(FULL_RATE),
                 "full-load rate", tau=SPEED, of_part=True)  # fmt: skip
    yield Metric("total_tokens_per_s", "tok/s", "higher", timing("total_tokens_per_s"),
                 "total throughput", tau=SPEED, gates=False, of_part=True)  # fmt: skip
    yield Metric("wall", "s", "lower", timing("wall"), "run time", "total time",
                 tau=SPEED, gates=False)  # fmt: skip
    for name, title in (("ttft", "time to first token"), ("tpot", "time per output token")):
        yield Metric(f"{name}_mean", "s", "lower", timing(f"{name}_mean"),
                     f"{title}, mean", tau=SPEED)  # fmt: skip
        yield Metric(f"{name}_p50", "s", "lower", timing(f"{name}_p50"),
                     f"{title}, median", tau=SPEED, gates=False)  # fmt: skip
        yield Metric(f"{name}_p90", "s", "lower", timing(f"{name}_p90"),
                     f"{title}, p90", tau=0.10, requests=P90_REQUESTS)  # fmt: skip
        yield Metric(f"{name}_p99", "s", "lower", timing(f"{name}_p99"),
                     f"{title}, p99", tau=0.10, requests=P99_REQUESTS)  # fmt: skip
    for name, title, part in (
        ("itl", "time between two tokens", False),
        ("full_load_itl", "time between two tokens at full load", True),
    ):
        yield Metric(f"{name}_p50", "s", "lower", timing(f"{name}_p50"), f"{title}, median",
                     tau=SPEED, gates=False, of_part=part)  # fmt: skip
        yield Metric(f"{name}_p99", "s", "lower", timing(f"{name}_p99"), f"{title}, p99",
                     tau=0.10, gates=False, of_part=part)  # fmt: skip
    yield Metric("joules_per_token", "J", "lower", timing("joules_per_token"),
                 "energy per token", tau=SPEED, of_part=True)  # fmt: skip
    for name in ("import", "load", "warmup"):
        yield Metric(f"{name}_s", "s", "lower", of.duration(name), f"{name} phase",
                     tau=0.20, gates=False, of_part=True)  # fmt: skip
    yield _shown("request_mean", "s", of.request_mean, "mean time of a request")
    yield _shown("speed_up", "ratio", timing(RUN_RATE), f"speed-up over {BASELINE}",
                 over=BASELINE)  # fmt: skip
    yield _shown("requests_run", "requests", lambda cell: cell.requests_run, "requests",
                 exact=True)  # fmt: skip
    yield _shown("output_tokens", "tokens", lambda cell: cell.output_tokens, "output tokens",
                 exact=True)  # fmt: skip


def _kv() -> Iterable[Metric]:
    """Counts of slots are exact; means over time are measured, since the machine sets the pace."""

    def kv(name: str) -> Read:
        return of.part("kv", name)

    yield Metric("kv_efficiency", "share", "higher", kv("efficiency"),
                 "KV efficiency", "memory efficiency", tau=OVER_TIME, of_stored=True,
                 of_part=True)  # fmt: skip
    yield Metric("kv_step_efficiency", "share", "higher", kv("step_efficiency"),
                 "KV efficiency per step", exact=True, tau=PER_STEP, of_stored=True)  # fmt: skip
    yield Metric("kv_bytes_per_live_token", "B", "lower", kv("bytes_held_per_live_token"),
                 "KV bytes held per live token", tau=OVER_TIME, gates=False,
                 of_stored=True, of_part=True)  # fmt: skip
    yield Metric("kv_mean_reserved", "slots", "lower", kv("mean_reserved"),
                 "KV slots held, mean", "KV held, mean tokens", tau=OVER_TIME,
                 gates=False)  # fmt: skip
    yield Metric("kv_peak_reserved", "slots", "lower", kv("peak_reserved"),
                 "KV slots held, peak", exact=True, tau_apart=ARRIVING)  # fmt: skip
    yield Metric("kv_bytes_per_slot", "B", "lower", kv("bytes_per_slot"),
                 "KV bytes per slot", exact=True, of_part=True)  # fmt: skip
    yield Metric("kv_peak_live", "tokens", "neither", kv("peak_live"),
                 "live tokens, peak", exact=True, gates=False, of_stored=True)  # fmt: skip
    yield Metric("kv_pool_slots", "slots", "neither", kv("pool_slots"),
                 "KV pool", exact=True, gates=False, of_part=True)  # fmt: skip
    yield Metric("peak_running", "requests", "higher", kv("peak_running"),
                 "requests in flight, peak", "requests in flight, most", exact=True,
                 gates=False)  # fmt: skip
    yield Metric("preempted", "times", "lower", kv("preempted"),
                 "preemptions", exact=True, gates=False)  # fmt: skip
    for name in ("reservation", "internal", "padding", "external"):
        yield Metric(f"waste_{name}", "share", "lower", of.waste(name), f"waste, {name}",
                     tau=OVER_TIME, gates=False, of_part=True)  # fmt: skip
    yield _shown("mean_running", "requests", kv("mean_running"), "requests in flight, mean")
    yield _shown("kv_mean_live", "tokens", kv("mean_live"), "KV used, mean tokens",
                 of_stored=True)  # fmt: skip
    yield _shown("kv_held_bytes", "B", of.kv_bytes("mean_reserved"), "KV held, mean")
    yield _shown("kv_used_bytes", "B", of.kv_bytes("mean_live"), "KV used, mean",
                 of_stored=True)  # fmt: skip
    yield _shown("kv_pool_bytes", "B", kv("pool_bytes"), "KV taken from the machine")


def _memory() -> Iterable[Metric]:
    yield Metric("device_peak", "B", "lower", of.highest("device_peak"),
                 "device memory, peak", tau=0.01)  # fmt: skip
    yield Metric("host_peak", "B", "lower", of.highest("host_peak"),
                 "host memory, peak", tau=0.05)  # fmt: skip
    yield Metric("weights", "B", "lower", of.line("weights"), "weights", exact=True,
                 of_part=True)  # fmt: skip
    yield Metric("kv_memory", "B", "neither", of.line("KV"), "KV memory taken", exact=True,
                 gates=False, of_part=True)  # fmt: skip
    yield Metric("activations", "B", "lower", of.line("activations"), "activations",
                 tau=0.05, gates=False)  # fmt: skip
    yield Metric("ledger_total", "B", "lower", of.ledger_total, "memory in the ledger",
                 tau=0.05, gates=False)  # fmt: skip
    yield _shown("after_import", "B", of.memory("import", "end"), "memory after import")
    yield _shown("after_load", "B", of.memory("load", "end"), "memory after load")
    yield _shown("run_peak", "B", of.memory("run", "peak"), "memory peak in the run")
    yield _shown("after", "B", of.memory_after, "memory after")


EVERY: dict[str, Metric] = {metric.name: metric for metric in (*_speed(), *_kv(), *_memory())}
METRICS: tuple[Metric, ...] = tuple(metric for metric in EVERY.values() if metric.listed)


def get(name: str) -> Metric:
    """Return the listed metric called `name`, or say which name is nearest."""
    if (metric := EVERY.get(name)) and metric.listed:
        return metric
    names = [metric.name for metric in METRICS]
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
    raise Problem(f"no metric {name!r}: {hint}")


def known(metric: Metric, cells: Iterable[Cell]) -> list[float]:
    """The metric of every repeat that has it, in the order of the repeats."""
    ordered = sorted(cells, key=lambda cell: cell.repeat)
    try:
        return [float(value) for cell in ordered if (value := metric.read(cell)) is not None]
    except OverflowError:
        raise Problem(f"{metric.name}: a result holds a number that is too large") from None


def values(metric: Metric, cells: Iterable[Cell]) -> list[float]:
    """The metric of every repeat that ran to its end and has it, in the order of the repeats."""
    return known(metric, (cell for cell in cells if cell.status == "ok"))
