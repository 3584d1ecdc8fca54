"""Which cells a suite means, and in which order they run."""

import random
from dataclasses import dataclass

from orchestrator.suite import Entry, Suite


@dataclass(frozen=True)
class Cell:
    """One backend with its options, once."""

    entry: Entry
    repeat: int

    @property
    def name(self) -> str:
        return f"{self.entry.title}.r{self.repeat}"


def cells(suite: Suite) -> list[Cell]:
    """Return all cells: every backend once per repeat, each repeat in its own seeded order.

    Interleaving lets slow drift (heat, neighbours) touch every backend alike.
    """
    planned = []
    for repeat in range(suite.repeats):
        order = list(suite.backend)
        random.Random(f"{suite.seed}-{repeat}").shuffle(order)
        planned += [Cell(entry, repeat) for entry in order]
    return planned
