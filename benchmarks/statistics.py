"""How often the statistics are wrong, and how long they take: a table in Markdown.

    python -m benchmarks.statistics [RESULT] [--pairs N]

From the repeats of a result (ten or more of every cell) it draws pairs of runs, five repeats of
every cell on each side and none on both, lets the machine drift between the two, plants a change
or none, and diffs them as `pagedbench diff` does. Drawing whole repeats keeps what real noise has
and a formula does not: outliers, and metrics that move together. Without a RESULT the repeats are
synthetic, with normal noise of 2 %.

It exits with 1 when a figure misses what is asked. How noisy your machine is, only repeats from
there can tell: `pagedbench run --repeats 16`, when nothing else runs.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from msgspec.structs import asdict, replace

from benchmarks.synthetic import Shop
from compare import metrics, stats
from compare.diff import cells, facts, results
from measure import canonical
from measure.result import Cell, Result

SPREAD = 0.02
DRIFT = 1.02
N = 5
BLOCK = 16
LESS_EFFICIENT = {
    "efficiency": 0.99, "step_efficiency": 0.99, "mean_reserved": 1 / 0.99,
    "bytes_held_per_live_token": 1 / 0.99,
}  # fmt: skip
BIN = [sys.executable, "-m", "orchestrator"]

Plant = Callable[[Cell], Cell]


@dataclass
class Line:
    """One row of the table: what was asked and what came out."""

    what: str
    asked: str
    found: str
    good: bool


def slower(cell: Cell, factor: float) -> Cell:
    """The same repeat with every time longer by a factor."""
    assert cell.timing
    scaled = {name: _scaled(name, value, factor) for name, value in asdict(cell.timing).items()}
    timing = replace(cell.timing, **scaled)
    phases = [replace(phase, seconds=phase.seconds * factor) for phase in cell.phases]
    return replace(cell, timing=timing, phases=phases)


def _scaled(name: str, value: Any, factor: float) -> Any:
    """A time or a rate, scaled; energy, and what is no number, as it is."""
    if not isinstance(value, float) or name.startswith("joules"):
        return value
    return value / factor if name.endswith("per_s") else value * factor


def one_block(cell: Cell) -> Cell:
    """The same repeat, holding one block more at its peak."""
    assert cell.kv
    assert cell.kv.peak_reserved
    return replace(cell, kv=replace(cell.kv, peak_reserved=cell.kv.peak_reserved + BLOCK))


def less_efficient(cell: Cell) -> Cell:
    """The same repeat, with KV efficiency one percent lower.

    The same tokens in more slots at every step but the fullest: the peak does not give it away.
    """
    assert cell.kv
    scaled = {
        name: None if (value := getattr(cell.kv, name)) is None else value * factor
        for name, factor in LESS_EFFICIENT.items()
    }
    return replace(cell, kv=replace(cell.kv, **scaled))


def pairs(recorded: Result, count: int, n: int, drift: float, plant: Plant) -> Iterator[Result]:
    """Base and head, one after the other: `count` times two results of `n` repeats each."""
    groups = cells.grouped(cell for cell in recorded.cells if cell.status == "ok")
    rng = random.Random(0)
    for _ in range(count):
        drawn = {key: rng.sample(repeats, 2 * n) for key, repeats in groups.items()}
        head = [plant(slower(c, drift)) for repeats in drawn.values() for c in repeats[n:]]
        yield _result(recorded, [c for repeats in drawn.values() for c in repeats[:n]])
        yield _result(recorded, head)


def _result(recorded: Result, drawn: list[Cell]) -> Result:
    counts: dict[str, int] = {}
    numbered = []
    for cell in drawn:
        counts[cell.label] = counts.get(cell.label, -1) + 1
        numbered.append(replace(cell, repeat=counts[cell.label]))
    return replace(recorded, cells=numbered, complete=True)


def regressed(
    recorded: Result, count: int, n: int, drift: float, plant: Plant
) -> tuple[int, int, int]:
    """In how many pairs, and in how many verdicts of how many, something regressed."""
    alarms = verdicts = judged = 0
    drawn = pairs(recorded, count, n, drift, plant)
    for base, head in zip(drawn, drawn, strict=True):
        diff = results.diff(base, head)
        found = [row for _, row in diff.rows() if row.weight == "gates"]
        judged += len(found)
        verdicts += sum(row.change.verdict == "regressed" for row in found)
        alarms += diff.exit_code == 1
    return alarms, verdicts, judged


def about(recorded: Result) -> str:
    """What the repeats are of, and how much they spread: all figures hang on that."""
    speed = metrics.get("output_tokens_per_s")
    groups = cells.grouped(recorded.cells).items()
    spreads = [
        f"{key[0]} {(stats.summarize(metrics.values(speed, repeats)).spread or 0) * 100:.1f} %"
        for key, repeats in groups
    ]
    count = len(recorded.cells) // max(len(groups), 1)
    what = f"{count} repeats of {recorded.workload.name} on {facts.processor(recorded)}"
    return f"{what}; output throughput of one repeat spreads by {', '.join(spreads)}."


def alarms(recorded: Result, count: int) -> Iterator[Line]:
    """The same code against itself."""
    for drift, name in ((1.0, "no drift"), (DRIFT, "2 % slower on the second day")):
        wrong, verdicts, judged = regressed(recorded, count, N, drift, lambda cell: cell)
        share = f"{verdicts} of {judged} verdicts"
        yield _share(f"A/A, {name}: pairs that fail ({share})", wrong, count, 0.01, most=True)


def found(recorded: Result, count: int) -> Iterator[Line]:
    """Planted changes, each in one cell at a time."""
    for label in dict.fromkeys(cell.label for cell in recorded.cells):
        slow = _only(label, lambda cell: slower(cell, 1.10))
        hits, _, _ = regressed(recorded, count, N, 1.0, slow)
        yield _share(f"{label} 10 % slower, n = {N}: found", hits, count, 0.90)
    for name, plant in (("one block more", one_block), ("KV efficiency 1 % lower", less_efficient)):
        hits, _, _ = regressed(recorded, count, 1, 1.0, _only("vllm", plant))
        yield _share(f"vllm {name}, n = 1: found", hits, count, 1.0)
    wrong, _, _ = regressed(recorded, count, 1, DRIFT, lambda cell: cell)
    yield _share("A/A at n = 1, 2 % slower: pairs that fail", wrong, count, 0.01, most=True)


def _only(label: str, plant: Plant) -> Plant:
    return lambda cell: plant(cell) if cell.label == label else cell


def _share(what: str, hits: int, count: int, asked: float, most: bool = False) -> Line:
    share = hits / count
    said = f"{'at most' if most else 'at least'} {asked:.0%}"
    good = share <= asked if most else share >= asked
    return Line(what, said, f"{share:.1%} ({hits} of {count})", good)


def speed() -> Iterator[Line]:
    """The commands, with their start, on synthetic results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = tuple(f"vllm-{number}" for number in range(100))
        for seed, side in enumerate(("base", "head")):
            _store(folder / side, Shop(seed=seed, noise=0.03, repeats=10, labels=labels))
        taken = _timed(["diff", str(folder / "base"), str(folder / "head")])
        yield Line("diff, 100 cells x 10 repeats", "< 1 s", f"{taken:.2f} s", taken < 1)
    with tempfile.TemporaryDirectory() as name:
        for number in range(1000):
            begun = (datetime(2024, 1, 1, 2, tzinfo=UTC) + timedelta(days=number)).isoformat()
            _store(Path(name) / f"{number:04}", Shop(seed=number, noise=0.02, begun=begun))
        taken = _timed(["trend", "--results", name])
        yield Line("trend, 1,000 nights, 3 cells x 5 repeats", "< 5 s", f"{taken:.2f} s", taken < 5)


def _store(folder: Path, shop: Shop) -> None:
    folder.mkdir()
    (folder / "result.json").write_bytes(canonical.dumps(shop.result()))


def _timed(arguments: list[str]) -> float:
    """The median of three, in seconds; a command that fails to run raises."""
    taken = []
    for _ in range(3):
        begun = time.perf_counter()
        done = subprocess.run([*BIN, *arguments], stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - begun)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{arguments} ended with {done.returncode}")
    return sorted(taken)[1]


def load(path: Path) -> Result:
    """Read the repeats. Raises UsageError when they are too few to draw from."""
    recorded = canonical.loads(path / "result.json" if path.is_dir() else path)
    least = min(len(repeats) for repeats in cells.grouped(recorded.cells).values())
    if least < 2 * N:
        raise click.UsageError(f"{path}: {least} repeats of a cell, {2 * N} are needed")
    if any(cell.kv and cell.kv.step_efficiency is None for cell in recorded.cells):
        raise click.UsageError(f"{path}: of an older version: `pagedbench report` it first")
    return recorded


@click.command()
@click.argument("result", type=click.Path(path_type=Path), required=False)
@click.option("--pairs", "count", default=200, show_default=True)
def main(result: Path | None, count: int) -> None:
    """Print the table, from the repeats of RESULT (a folder or a result.json)."""
    recorded = load(result) if result else Shop(seed=3, noise=SPREAD, repeats=20).result()
    lines = [*alarms(recorded, count), *found(recorded, count), *speed()]
    print(f"{about(recorded)}\n")
    print("| what | asked | found | |\n|---|---|---|---|")
    for line in lines:
        print(f"| {line.what} | {line.asked} | {line.found} | {'yes' if line.good else 'NO'} |")
    sys.exit(not all(line.good for line in lines))


if __name__ == "__main__":
    main()
