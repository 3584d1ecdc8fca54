"""Two revisions against each other on this machine, interleaved: the A/B of a pull request.

Each round runs both sides once, in an order drawn for the round, so that heat and neighbours
touch both alike. The rounds of a side then become one result with as many repeats.
"""

import random
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from compare.diff import facts
from measure import canonical
from measure.result import Cell, Result
from orchestrator.checkout import Checkout
from orchestrator.store import Folder
from traces.errors import Problem

SIDES = ("base", "head")


def rounds(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """(round, side) in the order to run: both sides in every round, neither always first."""
    rng = random.Random(seed)
    planned = []
    for number in range(count):
        first = rng.randrange(2)
        planned += [(number, first), (number, 1 - first)]
    return planned


def measure(
    sides: Sequence[Checkout], count: int, arguments: Sequence[str], folder: Path, timeout_s: float
) -> tuple[Result, Result]:
    """Run all rounds; return both sides' results, which are then in `folder` too."""
    parts: list[list[Path]] = [[], []]
    for number, side in rounds(count):
        out = folder / "rounds" / f"{number}-{SIDES[side]}"
        sides[side].run([*arguments, "--repeats", "1"], out, timeout_s)
        parts[side].append(out / "result.json")
    whole = [merged([canonical.loads(path) for path in paths]) for paths in parts]
    for name, result in zip(SIDES, whole, strict=True):
        (folder / name).mkdir()
        Folder(folder / name).write("result.json", canonical.dumps(result))
    return whole[0], whole[1]


def merged(parts: Sequence[Result]) -> Result:
    """Results of one side as one: their cells are its repeats. Raises Problem if they differ."""
    first = parts[0]
    if any(facts.same_experiment(part) != facts.same_experiment(first) for part in parts):
        raise Problem("the rounds of one side are not the same experiment: nothing to compare")
    cells: list[Cell] = []
    for number, part in enumerate(parts):
        width = 1 + max((run.repeat for run in part.runs), default=0)
        cells += [_renumbered(cell, number * width) for cell in part.cells]
    return replace(
        first,
        suite={**first.suite, "repeats": len(parts)},
        cells=sorted(cells, key=lambda cell: (cell.label, cell.repeat)),
        complete=all(part.complete for part in parts),
        volatile={"begun": first.volatile.get("begun"), "rounds": len(parts)},
    )


def _renumbered(cell: Cell, by: int) -> Cell:
    points = [replace(point, repeat=by + point.repeat) for point in cell.points]
    return replace(cell, repeat=by + cell.repeat, points=points)
