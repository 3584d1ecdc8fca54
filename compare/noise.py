"""Whether the machine was quiet while the repeats of a cell ran: one line per reason for doubt."""

from collections import Counter
from collections.abc import Iterator, Sequence
from math import log, sqrt

from compare import metrics, stats
from measure.result import Cell

DRIFTS = "output_tokens_per_s"


def notes(cells: Sequence[Cell]) -> Iterator[str]:
    """What was seen in single repeats (throttling, other processes, gaps), then a common drift."""
    doubts = Counter(reason for cell in cells for reason in dict.fromkeys(cell.suspect))
    for reason, count in doubts.items():
        yield f"suspect in {count} of {len(cells)}: {reason}"
    metric = metrics.get(DRIFTS)
    moved = drift(metrics.values(metric, cells))
    if moved is not None and abs(moved) > metric.tau:
        yield f"{metric.title} drifted by {moved * 100:+.1f} % over {len(cells)} repeats"


def drift(values: Sequence[float], confidence: float = 0.99) -> float | None:
    """The change from the first repeat to the last along a straight line, if one is there."""
    n = len(values)
    if n < stats.GATES_AT or min(values) <= 0:
        return None
    logs = [log(value) for value in values]
    middle, level = (n - 1) / 2, stats.fmean(logs)
    across = sum((i - middle) ** 2 for i in range(n))
    slope = sum((i - middle) * (y - level) for i, y in enumerate(logs)) / across
    rest = sum((y - level - slope * (i - middle)) ** 2 for i, y in enumerate(logs))
    error = sqrt(rest / (n - 2) / across)
    sure = stats.student_quantile((1 + confidence) / 2, n - 2) * error
    return stats.power(slope * (n - 1)) - 1 if abs(slope) > sure else None
