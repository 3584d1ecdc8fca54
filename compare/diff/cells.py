"""Which cell of one result is which of the other: by what they are, never by position.

A cell is its label, its backend and its options; workload and model are the result's. A cell that
only changed its label is still the same cell.
"""

from collections.abc import Iterable, Sequence

import msgspec

from compare.metrics import Metric
from measure.result import Cell, Work

Key = tuple[str, str, str]

_WORK = ("requests_run", "output_tokens")
_WRONG = ("oom", "failed", "crashed", "timeout", "invalid")


def key(cell: Cell) -> Key:
    """What a cell is."""
    options = msgspec.json.encode(cell.options, order="sorted").decode()
    return cell.label, cell.backend, options


def name(which: Key) -> str:
    """A cell's name where only a line tells cells apart: its label, and its options if any."""
    label, _, options = which
    return label if options == "{}" else f"{label} {options}"


def went_wrong(cell: Cell) -> bool:
    """Say whether the backend is to blame that there is no result; an interruption is nobody's."""
    return cell.status in _WRONG


def work(cells: Iterable[Cell]) -> tuple[tuple[int, ...], ...]:
    """The requests and the tokens that the repeats which ran did: each count once, in order.

    Of those that a deadline ended neither: what had come by then is no work, but a measurement.
    """
    ran = [cell for cell in cells if cell.status == "ok" and not cell.ended]
    return tuple(
        tuple(sorted({count for cell in ran if (count := getattr(cell, name)) is not None}))
        for name in _WORK
    )


def other_work(base: Sequence[Cell], head: Sequence[Cell]) -> str:
    """Say what shows that the two sides were not offered the same work, or did other; or nothing.

    Results from before a deadline ended a run may have left requests out instead.
    """
    for name in Work.__struct_fields__:
        offered = [tuple(dict.fromkeys(getattr(c.work, name) for c in side if c.work))
                   for side in (base, head)]  # fmt: skip
        if all(offered) and offered[0] != offered[1]:
            return _other(name, *offered)
    both = [*base, *head]
    if any(cell.truncated for cell in both) and any(cell.ended for cell in both):
        return "other work: one side left requests out, where a deadline ended the other"
    for name, one, two in zip(_WORK, work(base), work(head), strict=True):
        if one and two and one != two:
            return _other(name, one, two)
    return ""


def _other(name: str, *sides: tuple[object, ...]) -> str:
    return f"other work: {name} {' -> '.join('/'.join(map(str, side)) for side in sides)}"


def says(metric: Metric, cells: Iterable[Cell]) -> bool:
    """Say whether a metric says something of these: a sum over the work, of whole runs alone."""
    return metric.of_part or not any(cell.ended for cell in cells)


def counted_ahead(cells: Iterable[Cell]) -> bool:
    """Say whether tokens count as stored from when they were scheduled, as results once had it."""
    return any(cell.kv is not None and cell.kv.counted == "scheduled" for cell in cells)


def comparable(metric: Metric, one: Iterable[Cell], two: Iterable[Cell]) -> bool:
    """Say whether a metric means the same on both sides."""
    return not metric.of_stored or counted_ahead(one) == counted_ahead(two)


def grouped(cells: Iterable[Cell]) -> dict[Key, list[Cell]]:
    """The repeats of each cell, in the order the cells first appear."""
    groups: dict[Key, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return groups


def matched(base: Iterable[Key], head: Iterable[Key]) -> tuple[list[tuple[Key, Key]], list[Key]]:
    """Pair the keys of two sides, in the order of head; the second list is base's remainder.

    A head key without a partner is not in any pair.
    """
    bases, heads = list(base), list(head)
    pairs = {two: two for two in heads if two in bases}
    for two in (two for two in heads if two not in pairs):
        renamed = [one for one in bases if one not in heads and one[1:] == two[1:]]
        rivals = [other for other in heads if other not in bases and other[1:] == two[1:]]
        if len(renamed) == len(rivals) == 1:
            pairs[two] = renamed[0]
    taken = set(pairs.values())
    ordered = [(pairs[two], two) for two in heads if two in pairs]
    return ordered, [one for one in bases if one not in taken]
