"""Which cells a suite means, and in which order they run."""

import random
from dataclasses import dataclass

from msgspec import structs

from orchestrator.sizes import size
from orchestrator.suite import SWEEPS, Entry, Suite
from traces.job import Point
from traces.policy import Policy


@dataclass(frozen=True)
class PlannedCell:
    """One backend with its options, once."""

    entry: Entry
    repeat: int

    @property
    def name(self) -> str:
        return f"{self.entry.title}.r{self.repeat}"


def cells(suite: Suite) -> list[PlannedCell]:
    """Return all cells: every backend once per repeat, each repeat in its own seeded order.

    Interleaving lets slow drift (heat, neighbours) touch every backend alike. A backend that is
    swept is one cell: its repeats are run windows in one engine (`points`).
    """
    planned = []
    for repeat in range(suite.repeats):
        order = [entry for entry in suite.backend if not repeat or not swept(suite, entry)]
        random.Random(f"{suite.seed}-{repeat}").shuffle(order)
        planned += [PlannedCell(entry, repeat) for entry in order]
    return planned


def swept(suite: Suite, entry: Entry) -> bool:
    """Say whether this backend has several run windows in one engine."""
    return entry.name in SWEEPS and bool(suite.sweep.policy or suite.sweep.kv_budget)


def points(suite: Suite, entry: Entry, bytes_per_token: int) -> list[Point]:
    """Return a cell's run windows: every change once per repeat, each repeat in a seeded order.

    What is as the suite has it keeps the backend's own label, so that it is compared over time.
    """
    if not swept(suite, entry):
        return []
    policies: list[Policy] = suite.sweep.policy or [entry.options.get("policy", "paged")]
    budgets: list[tuple[str, int | None]] = [
        (text, size(text, bytes_per_token)) for text in suite.sweep.kv_budget
    ] or [("", None)]
    changes = [
        Point(label=_label(entry, policy, text), repeat=0, policy=policy, kv_budget=budget)
        for policy in policies
        for text, budget in budgets
    ]
    planned = []
    for repeat in range(suite.repeats):
        order = [structs.replace(change, repeat=repeat) for change in changes]
        random.Random(f"{suite.seed}-{repeat}-points").shuffle(order)
        planned += order
    return planned


def _label(entry: Entry, policy: Policy, budget: str) -> str:
    changed = [] if policy == entry.options.get("policy", "paged") else [policy]
    return "-".join([entry.title, *changed, *([budget.replace(" ", "-")] if budget else [])])
