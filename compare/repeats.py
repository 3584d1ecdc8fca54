"""What the repeats of one backend are: how they lay out their cache, and whether to doubt them."""

from measure.result import Cell, Result

DOUBT = "*"
"""Behind the name of a backend whose numbers are doubtful."""


def by_label(result: Result) -> dict[str, list[Cell]]:
    """The repeats of each backend that ran to its end and did not fail parity."""
    groups: dict[str, list[Cell]] = {}
    for cell in result.runs:
        if cell.status == "ok" and not (cell.parity and cell.parity.verdict == "fail"):
            groups.setdefault(cell.label, []).append(cell)
    return groups


def layout(cells: list[Cell]) -> str | None:
    """How the backend lays out its cache."""
    return next((cell.kv.layout for cell in cells if cell.kv and cell.kv.layout), None)


def policy(cells: list[Cell]) -> str:
    """What a request is given at its admission; blocks as it needs them, where nothing is said."""
    return str(cells[0].options.get("policy", "paged"))


def marked(cells: list[Cell]) -> str:
    """The mark of a doubtful backend; empty for others."""
    failed = any(check.verdict == "fail" for cell in cells for check in cell.validity)
    return DOUBT if failed or any(cell.suspect for cell in cells) else ""


def cut_short(cells: list[Cell]) -> bool:
    """Say whether a time budget took requests from an engine that works on all at once.

    Then its batch was smaller than it would be, and its rates are not its own.
    """
    return layout(cells) == "paged" and any(cell.truncated for cell in cells)
