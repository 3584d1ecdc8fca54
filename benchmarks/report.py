"""What a report costs: merge and render runs of three sizes, with their time and memory.

Run: python -m benchmarks.report [MILLIONS_OF_SAMPLES ...]

Makes a run folder with that many sample lines of 8 GPUs at 1 kHz and a tenth as many engine
steps, then builds result and pages in a process of their own. Prints seconds, peak resident
memory, and the size of the page. The aim: 10 million samples in under 30 s and 1.5 GB, with a
page under 6 MB, and cost that grows with the size and not faster.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from traces.layout import CacheGroup, Layout
from traces.records import Kv, LaidOut, Phase, Request, Sample, Slots
from traces.writer import Writer

GPUS = 8
MS = 1_000_000
START = 10_000 * MS
STEP = 16  # slots of a block
CHILD = """
import json, resource, sys, time
from pathlib import Path
import msgspec
begun = time.perf_counter()
from report import pages
from measure.build import Meta, Run, build
folder = Path(sys.argv[1])
run = Run(folder)
result = build(folder, msgspec.json.decode((folder / "meta.json").read_bytes(), type=Meta), run)
html = pages.write(folder, result, run)[1]
print(json.dumps({
    "seconds": time.perf_counter() - begun,
    "cpu": time.process_time(),
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "page_mb": html.stat().st_size / 1e6,
    "samples": sum(len(d.memory) for d in run.seen(run.cells[0].boot_id).devices.values()),
    "steps": result.cells[0].kv.steps,
}))
"""
META = """{"suite": {"name": "cost"}, "dtype": "bfloat16", "device": "cuda", "environment": {},
"complete": true, "model": {"name": "made up", "source": "shape", "sha256": null, "layers": 1,
"kv_heads": 1, "head_dim": 1, "vocab_size": 1, "max_position": 1, "weights_bytes": null,
"same_weights": true}, "workload": {"name": "cost", "sha256": "", "requests": 1,
"prompt_tokens": 10, "output_tokens": 10, "max_total": 20}}"""
ABOUT = """{"label": "vllm", "backend": "vllm", "repeat": 0, "status": "ok"}"""


def make(folder: Path, samples: int) -> None:
    """Write a run folder with one cell."""
    cell = folder / "cells" / "vllm.r0"
    cell.mkdir(parents=True)
    (folder / "meta.json").write_text(META)
    (cell / "cell.json").write_text(ABOUT)
    ticks = samples // GPUS
    with Writer(folder / "samples.jsonl", "benchmark") as out:
        for tick in range(ticks):
            for gpu in range(GPUS):
                used = (40 << 30) + (tick * 7919 + gpu) % (1 << 30)
                out.write(
                    Sample(
                        t=START + tick * MS + gpu, uuid=f"GPU-{gpu:032d}", used=used,
                        free=(80 << 30) - used, reserved=600 << 20,
                    )
                )  # fmt: skip
    steps(cell / "worker.jsonl", samples // 10, ticks)


def steps(path: Path, count: int, ticks: int) -> None:
    """Write a worker's trace with `count` steps over the same time."""
    end = START + ticks * MS
    with Writer(path, "benchmark") as out:
        out.write(Phase(t=START, name="import", edge="begin"))
        out.write(Phase(t=START + MS, name="import", edge="end"))
        out.write(Phase(t=START + 2 * MS, name="run", edge="begin"))
        for step in range(count):
            live = 5000 + step * 31 % 3000
            held = -(-live // STEP) * STEP + step % 7 * STEP
            t = START + 2 * MS + step * (ticks - 4) * MS // count
            out.write(
                Kv(t=t, step=step, groups=[Slots(held, live)], pool=1 << 20, running=200, waiting=3)
            )
        out.write(
            Request(
                t=end - 2 * MS, id="0", prompt_tokens=10, output_tokens=10, arrive=START + 2 * MS,
                start=START + 3 * MS, first=START + 4 * MS, last=end - 2 * MS,
                token_ids=list(range(10)), token_ids_sha256="",
            )
        )  # fmt: skip
        out.write(Phase(t=end - MS, name="run", edge="end"))
        group = CacheGroup(block_tokens=STEP, bytes_per_token=1 << 17)
        out.write(LaidOut(t=end, layout=Layout(kind="paged", groups=[group])))


def measure(millions: float) -> dict[str, float]:
    """Make a run of that many samples, report on it in a fresh process, and return the costs."""
    with tempfile.TemporaryDirectory() as scratch:
        make(Path(scratch), int(millions * 1e6))
        done = subprocess.run(
            [sys.executable, "-c", CHILD, scratch], check=True, capture_output=True, text=True
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(sizes: list[float]) -> None:
    """Print a line for each size."""
    print("   samples      steps   seconds     CPU s   us/line   peak MB   page MB")
    for size in sizes:
        cost = measure(size)
        lines = cost["samples"] + cost["steps"]
        print(
            f"{cost['samples']:10,.0f} {cost['steps']:10,.0f} {cost['seconds']:9.2f} "
            f"{cost['cpu']:9.2f} {cost['cpu'] / lines * 1e6:9.2f} {cost['peak_mb']:9.0f} "
            f"{cost['page_mb']:9.2f}"
        )


if __name__ == "__main__":
    main([float(size) for size in sys.argv[1:]] or [1, 3, 10])
