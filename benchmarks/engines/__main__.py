"""What measuring costs, and whether our engines are as fast as the same engines without us.

    python -m benchmarks.engines [--only NAME ...] [--quick] [--device cpu|cuda] [--dtype D]
        [--model NAME] [--seconds S] [--repeats N] [--out FILE] [--docs docs/performance.md]

Comparisons, each of two arms that take turns (AB BA AB ...); prints a table in Markdown and writes
every measured value as JSON:

    recording  vLLM with our KV recording off, and on, in one engine; asked: costs 1 % at most
    bench      `vllm bench throughput`, and our vllm backend, each run in a fresh process
    closed     `LLM.generate`, and our closed run, in one engine
    plain      a plain Transformers generate loop, and our hf-sequential, in one process
    static, batched, paged    the same for the other ways of Transformers

All but the first are asked to be within 1 %. It exits with 1 when one is not, surely. It does not
tell how fast an engine can be, and what a busy machine shows is noise: see docs/performance.md.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.engines import peer as engines_peer
from benchmarks.engines import table as engines_table
from benchmarks.engines.process import Prepared, ask, prepare
from benchmarks.engines.table import Figures
from monitor.nvml import Library
from orchestrator import environment
from orchestrator.backends import find, installed
from traces import workload
from traces.errors import OK, REGRESSION, USAGE, Problem
from traces.job import Job, Options
from traces.records import Device

LONGEST = 1024  # tokens of prompt and output, for which every engine is made ready
SHORT_RUN = 0.6  # of --seconds, for `bench`, whose every run starts an engine
SHORTER_RUN = 0.5  # for `plain`, one request after another: there is no batch to fill
PROMPTS = (16, 47)  # of many lengths, so that requests do not all need a block in one step
BF16 = {"avx512f", "avx512_bf16", "amx_bf16", "bf16"}  # without, it is many times slower on a CPU


@dataclass(frozen=True)
class Scale:
    """What is measured where nothing else is asked for."""

    model: str
    in_flight: int


SCALES = {"cpu": Scale("smollm2-135m", 32), "cuda": Scale("shape:llama-3.2-1b", 256)}


@dataclass(frozen=True)
class Plan:
    """What is measured: device, model, requests in flight, seconds a run, repeats an arm."""

    device: str
    dtype: str
    model: str
    in_flight: int
    seconds: float
    repeats: int
    folder: Path

    def prepare(self, name: str, requests: int, prompt: tuple[int, int], output: int) -> Prepared:
        """Make the model and token ids ready."""
        spec = workload.Uniform(requests=requests, prompt=prompt, output=(output, output))
        return prepare(self.model, name, spec, LONGEST, self.folder)

    def job(self, name: str, prepared: Prepared, backend: str, options: dict[str, Any]) -> Job:
        """Return what a worker is asked to do, in a folder of its own."""
        folder = self.folder / name
        folder.mkdir()
        return Job(
            module=find(backend, name).module, cell=name, backend=backend, options=options,
            model=prepared.folder,
            random_weights=prepared.random_weights, dtype=self.dtype, device=self.device,
            workload=prepared.workload, folder=str(folder), max_length=prepared.max_length, seed=0,
        )  # fmt: skip


def recording(plan: Plan) -> Figures:
    """Our recording off and on, in one engine: what the scheduler's hook costs."""
    prepared = plan.prepare("recording", plan.in_flight, PROMPTS, 1)
    job = plan.job("recording", prepared, "vllm", {"max_num_seqs": plan.in_flight})
    return Figures(
        name="recording", a="vllm, recording off", b="vllm, recording on", one_sided=True,
        **ask("benchmarks.engines.arms:recording", job, plan.seconds, plan.repeats),
    )  # fmt: skip


def bench(plan: Plan) -> Figures:
    """vLLM's own benchmark and our backend, a fresh process each."""
    options = {"max_num_seqs": plan.in_flight}
    measured = engines_peer.measure(
        lambda output: plan.prepare(f"bench-{output}", plan.in_flight, engines_peer.PROMPT, output),
        lambda name, prepared: plan.job(name, prepared, "vllm", options),
        plan.seconds * SHORT_RUN, plan.repeats,
    )  # fmt: skip
    return Figures(name="bench", a="vllm bench throughput", b="our vllm", **measured)


def _driven(plan: Plan, name: str, backend: str, requests: int, options: Options) -> Figures:
    """An engine's own way, and our driving of it, in one process on one model."""
    job = plan.job(name, plan.prepare(name, requests, PROMPTS, 1), backend, options)
    return Figures(
        name=name, a=f"{backend}, its own way", b=f"{backend}, driven",
        **ask("benchmarks.engines.arms:driven", job, plan.seconds * SHORTER_RUN, plan.repeats),
    )  # fmt: skip


def closed(plan: Plan) -> Figures:
    """`LLM.generate` and our closed run, in one vLLM."""
    flying = plan.in_flight
    return _driven(plan, "closed", "vllm", flying, {"max_num_seqs": flying})


def plain(plan: Plan) -> Figures:
    """A plain loop over generate(), one request at a time."""
    return _driven(plan, "plain", "hf-sequential", 4, {})


def static(plan: Plan) -> Figures:
    """The same on a static cache of four rows."""
    return _driven(plan, "static", "hf-static", 4, {"batch_size": 4})


def batched(plan: Plan) -> Figures:
    """The same in padded batches of four."""
    return _driven(plan, "batched", "hf-batched", 4, {"batch_size": 4})


def paged(plan: Plan) -> Figures:
    """Transformers' continuous batching."""
    return _driven(plan, "paged", "hf-paged", 16, {"max_batch_tokens": 1024})


PARTS: dict[str, Callable[[Plan], Figures]] = {
    "recording": recording, "bench": bench, "closed": closed, "plain": plain, "static": static,
    "batched": batched, "paged": paged,
}  # fmt: skip


def gpus() -> list[Device]:
    """Return the GPUs that the driver lists."""
    library = Library()
    try:
        devices = [] if library.reason else library.devices()[0]
        return [
            Device(
                t=0, uuid=d.uuid, index=d.index, name=d.name, memory_total=d.total,
                driver=library.driver,
            )
            for d in devices
        ]  # fmt: skip
    finally:
        library.close()


def usual_dtype(device: str) -> str:
    """Return bfloat16, but float32 on a CPU without instructions for it."""
    known = Path("/proc/cpuinfo").read_text().split() if device == "cpu" else ["bf16"]
    return "bfloat16" if BF16.intersection(known) else "float32"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.engines", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this one")
    parser.add_argument(
        "--quick", action="store_true", help="short runs, n = 3: a test, no figures"
    )
    parser.add_argument("--device", default="", choices=SCALES, help="by default a usable GPU")
    parser.add_argument("--dtype", default="", help="by default bfloat16, where it is fast")
    parser.add_argument("--model", default="", help="by default one that suits the device")
    parser.add_argument("--seconds", type=float, help="of each run of `recording` (20)")
    parser.add_argument("--repeats", type=int, help="of each arm (5)")
    parser.add_argument("--out", type=Path, help="write the values here, as JSON")
    parser.add_argument("--docs", type=Path, help="put the table into this page")
    return parser.parse_args()


def plan(
    folder: Path, device: str = "", dtype: str = "", model: str = "", seconds: float = 20.0,
    repeats: int = 5, in_flight: int = 0,
) -> Plan:  # fmt: skip
    """Fill in what suits this machine where nothing is asked for."""
    usable = bool(gpus()) and "+cpu" not in (installed("torch") or "")
    device = device or ("cuda" if usable else "cpu")
    return Plan(
        device=device,
        dtype=dtype or usual_dtype(device),
        model=model or SCALES[device].model,
        in_flight=in_flight or SCALES[device].in_flight,
        seconds=seconds,
        repeats=repeats,
        folder=folder,
    )


def measure(asked: argparse.Namespace, found: dict[str, Any], folder: Path) -> None:
    """Measure what is asked for; `found` has what there is after each part."""
    chosen = plan(
        folder, asked.device, asked.dtype, asked.model,
        seconds=asked.seconds or (3.0 if asked.quick else 20.0),
        repeats=asked.repeats or (3 if asked.quick else 5),
        in_flight=8 if asked.quick else 0,
    )  # fmt: skip
    found["plan"] = {name: value for name, value in asdict(chosen).items() if name != "folder"}
    for name in asked.only or PARTS:
        found["parts"].append(msgspec.to_builtins(PARTS[name](chosen)))
        if asked.out:
            asked.out.write_text(json.dumps(found, indent=1) + "\n")


def main() -> int:
    """Measure, print the table, write what is asked; return the exit code."""
    asked = arguments()
    found: dict[str, Any] = {
        "quick": asked.quick, "machine": msgspec.to_builtins(environment.describe(gpus())),
        "parts": [],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="pagedbench-perf-") as folder:
        try:
            measure(asked, found, Path(folder))
        except Problem as problem:
            print(f"benchmarks.engines: {problem}", file=sys.stderr)
            return USAGE
        finally:
            parts = msgspec.convert(found["parts"], list[Figures])
            table = engines_table.render(found, parts)
            print(table if parts else "nothing was measured")
    if asked.docs:
        engines_table.fill(asked.docs, table)
    missed = any(engines_table.met(part) == "no" for part in parts)
    return REGRESSION if missed and not asked.quick else OK


if __name__ == "__main__":
    sys.exit(main())
