"""Whether the machine was quiet while the repeats of a cell ran: one line per reason for doubt."""

from collections import Counter
from collections.abc import Iterator, Sequence

from compare import metrics, stats
from measure.result import Cell

DRIFTS = "output_tokens_per_s"


def notes(cells: Sequence[Cell]) -> Iterator[str]:
    """What was seen in single repeats (throttling, other processes, gaps), then a common drift."""
    doubts = Counter(reason for cell in cells for reason in dict.fromkeys(cell.suspect))
    for reason, count in doubts.items():
        yield f"suspect in {count} of {len(cells)}: {reason}"
    metric = metrics.get(DRIFTS)
    moved = stats.drift(metrics.values(metric, cells))
    if moved is not None and abs(moved) > metric.tau:
        yield f"{metric.title} drifted by {moved * 100:+.1f} % over {len(cells)} repeats"
