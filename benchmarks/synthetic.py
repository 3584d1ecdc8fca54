"""Results that nobody measured: for tests, and for the benchmark of the statistics.

A `Shop` makes results like those of the `seed` suite on a small machine, with the noise you ask
for and a change you plant, the same ones for the same seed. What they do not promise: that real
noise is normal. `benchmarks.statistics` draws from recorded repeats where that matters.
"""

import random
from dataclasses import dataclass, field
from math import exp
from typing import Any

from msgspec.structs import replace

from measure import result as r

MIB = 1 << 20
SLOT = 23_040  # bytes of KV per token of SmolLM2-135M in bfloat16
BASE: dict[str, dict[str, float]] = {
    "hf-sequential": {"speed": 23.0, "reserved": 242, "live": 240, "host": 900 * MIB},
    "hf-static": {"speed": 21.0, "reserved": 2048, "live": 121, "host": 990 * MIB},
    "vllm": {"speed": 250.0, "reserved": 512, "live": 470, "host": 2100 * MIB},
}
PACKAGES = {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.19.0", "vllm": "0.32.0"}
GIT = {"commit": "0" * 40, "dirty": False}


@dataclass
class Shop:
    """Makes results. `noise` is the deviation of one repeat, `drift` shifts a whole result."""

    seed: int = 0
    noise: float = 0.01
    drift: float = 0.0
    repeats: int = 5
    labels: tuple[str, ...] = tuple(BASE)
    slower: dict[str, float] = field(default_factory=dict)
    """Factors on the time of a label: 1.1 is ten percent slower."""
    more_slots: dict[str, int] = field(default_factory=dict)
    """Slots that a label holds on top, at its peak and on average."""
    environment: dict[str, Any] = field(default_factory=dict)
    git: dict[str, Any] = field(default_factory=lambda: dict(GIT))
    begun: str = "2026-01-01T02:00:00Z"

    def result(self) -> r.Result:
        """One complete result."""
        rng = random.Random(f"{self.seed}-{self.begun}")
        cells = [self.cell(label, n, rng) for label in self.labels for n in range(self.repeats)]
        return r.Result(
            suite={"name": "seed", "repeats": self.repeats, "interval": "10ms", "max_length": 2048},
            model=_model(), dtype="bfloat16", device="cpu", workload=_workload(),
            environment=self._environment(), cells=cells, complete=True,
            volatile={"begun": self.begun},
        )  # fmt: skip

    def _environment(self) -> dict[str, Any]:
        return {
            "git": self.git,
            "versions": dict(PACKAGES),
            "gpus": [],
            "driver": None,
            "cpu": {"model": "Example CPU", "cores": 2},
            "os": "Linux 6.1",
            "worker_environment": {},
            **self.environment,
        }

    def cell(self, label: str, repeat: int, rng: random.Random) -> r.Cell:
        """One repeat of one backend; a label like vllm-7 is another vllm."""
        backend = label if label in BASE else label.rpartition("-")[0]
        base = BASE[backend]
        time = self.slower.get(label, 1.0) * exp(self.drift + rng.gauss(0, self.noise))
        speed = base["speed"] / time
        more = self.more_slots.get(label, 0)
        held, live = base["reserved"] + more, base["live"]
        host = int(base["host"] * exp(rng.gauss(0, 0.003)))
        return r.Cell(
            label=label, backend=backend, options={}, repeat=repeat, status="ok",
            requests_run=4, requests_asked=4, output_tokens=256,
            timing=_timing(speed, rng, self.noise), kv=_kv(held, live, rng),
            phases=[
                r.Phase(name="load", seconds=2 * exp(rng.gauss(0, 0.05)), host_peak=host // 2),
                r.Phase(name="run", seconds=256 / speed, host_peak=host, host_end=host),
            ],
        )  # fmt: skip


def _timing(speed: float, rng: random.Random, noise: float) -> r.Timing:
    def about(value: float) -> float:
        return value * exp(rng.gauss(0, noise / 3))

    first, per = about(20 / speed), about(1 / speed)
    return r.Timing(
        wall=256 / speed, output_tokens_per_s=speed, total_tokens_per_s=speed * 1.9,
        ttft_mean=first, ttft_p50=first, ttft_p90=first * 2, ttft_p99=first * 2.2,
        tpot_mean=per, tpot_p50=per, tpot_p90=per * 1.1, tpot_p99=per * 1.2,
    )  # fmt: skip


def _kv(held: float, live: float, rng: random.Random) -> r.Kv:
    """Peaks are counts; the means are over time, so the machine's pace is in them."""
    mean = held * exp(rng.gauss(0, 0.001))
    return r.Kv(
        steps=256, bytes_per_slot=SLOT, efficiency=live / mean, step_efficiency=live / held,
        mean_live=live,
        mean_reserved=mean, peak_live=int(live), peak_reserved=int(held), pool_slots=4096,
        bytes_held_per_live_token=SLOT * mean / live, mean_running=2.0, peak_running=4,
        preempted=0, counted="executing",
    )  # fmt: skip


def _model() -> r.Model:
    return r.Model(
        name="smollm2-135m", source="bundled", sha256="ab" * 32, layers=30, kv_heads=3,
        head_dim=64, vocab_size=49152, max_position=8192, weights_bytes=269_030_400,
        same_weights=True,
    )  # fmt: skip


def _workload() -> r.Workload:
    return r.Workload(
        name="seed", sha256="cd" * 32, requests=4, prompt_tokens=162, output_tokens=256,
        max_total=209,
    )  # fmt: skip


def timed(result: r.Result, **factors: float) -> r.Result:
    """The same result with these timings of every cell multiplied."""
    found = []
    for cell in result.cells:
        assert cell.timing
        fields = {name: getattr(cell.timing, name) * factors[name] for name in factors}
        found.append(replace(cell, timing=replace(cell.timing, **fields)))
    return replace(result, cells=found)


def with_cells(result: r.Result, **fields: Any) -> r.Result:
    """The same result with these fields of every cell replaced."""
    return replace(result, cells=[replace(cell, **fields) for cell in result.cells])
