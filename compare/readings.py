"""How a metric is read from a cell: None wherever the cell has no such number."""

from collections.abc import Callable
from statistics import fmean
from typing import Any, Literal

from measure.result import Cell, Phase

Read = Callable[[Cell], float | None]


def part(owner: Literal["timing", "kv"], name: str) -> Read:
    """A field of a part of the cell."""

    def read(cell: Cell) -> float | None:
        found: Any = getattr(cell, owner)
        value: float | None = getattr(found, name) if found is not None else None
        return value

    return read


def highest(name: str) -> Read:
    """The highest value of a field that any phase reached."""

    def read(cell: Cell) -> float | None:
        known = [value for phase in cell.phases if (value := getattr(phase, name)) is not None]
        return max(known, default=None)

    return read


def duration(phase: str) -> Read:
    """Seconds a phase took."""
    return lambda cell: found.seconds if (found := _phase(cell, phase)) else None


def memory(phase: str, what: Literal["end", "peak"]) -> Read:
    """Bytes at the end of a phase, or at most in it: of the device, or of the host without one."""

    def read(cell: Cell) -> float | None:
        found = _phase(cell, phase)
        device: int | None = getattr(found, f"device_{what}", None)
        return device if device is not None else getattr(found, f"host_{what}", None)

    return read


def memory_after(cell: Cell) -> float | None:
    """Bytes once the cell was gone, or at the end of its teardown where only that is known."""
    return cell.device_after if cell.device_after is not None else memory("teardown", "end")(cell)


def waste(cause: str) -> Read:
    """The share of held slots that one cause wastes."""

    def read(cell: Cell) -> float | None:
        share = cell.kv.waste.get(cause) if cell.kv else None
        return share.value if share else None

    return read


def kv_bytes(name: str) -> Read:
    """A number of slots in bytes."""
    slots = part("kv", name)

    def read(cell: Cell) -> float | None:
        per_slot, mean = cell.kv and cell.kv.bytes_per_slot, slots(cell)
        return per_slot * mean if per_slot and mean is not None else None

    return read


def line(name: str) -> Read:
    """A line of the memory ledger."""

    def read(cell: Cell) -> float | None:
        lines = cell.ledger.lines if cell.ledger else []
        return next((line.bytes for line in lines if line.name == name), None)

    return read


def ledger_total(cell: Cell) -> float | None:
    """All bytes in the ledger."""
    return cell.ledger.total if cell.ledger else None


def request_mean(cell: Cell) -> float | None:
    """Seconds that a request took on average, once it was worked on."""
    took = [
        row.last - row.start
        for row in cell.rows
        if row.last is not None and row.start is not None and not row.ended
    ]
    return fmean(took) if took else None


def _phase(cell: Cell, name: str) -> Phase | None:
    return next((phase for phase in cell.phases if phase.name == name), None)
