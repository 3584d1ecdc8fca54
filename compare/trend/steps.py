"""Where a series changed its level: penalised least squares over all segmentations (PELT).

The method is the one of `ruptures` (Truong, Oudre, Vayatis: Selective review of offline change
point detection methods, 2020), with its exact kernel search and the linear kernel, that is: in
each segment the mean is the level. On logarithms, in units of the series' own night-to-night
noise, so one penalty serves all metrics. Single outliers are pulled in before, and a step smaller
than a metric's least change is none. A step in the last nights is for `nightly` to find.
"""

from collections.abc import Sequence
from statistics import median  # what an outlier within a segment does not move
from typing import TYPE_CHECKING, Any

from compare import metrics, stats
from compare.trend.outcome import MetricSeries, Moved, Step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHORTEST = 3  # nights on a level
PENALTY = 3.0  # times log n: BIC would be 2, for noise that is normal
LEAST = 0.01  # a smaller step of a measured metric is no news
OUTLIER = 4.0  # deviations from the neighbours


def find(series: MetricSeries, changes: Sequence[Moved]) -> list[Step]:
    """The steps of one series, each with what changed in the environment at that run."""
    if len(series.mean) < 2 * SHORTEST or min(series.mean) == max(series.mean):
        return []
    import numpy as np  # with ruptures a second to import: only for those who look at a trend

    raw = np.asarray(series.mean)
    values = np.log(raw) if raw.min() > 0 else raw
    ends = _segments(values, np)
    metric = metrics.get(series.metric)
    least = metric.tau if metric.exact else LEAST
    found = [_step(series, raw, start, at, end, changes) for start, at, end in _joints(ends)]
    return [step for step in found if step.ratio is None or abs(step.ratio - 1) > least]


def _segments(values: "Floats", np: Any) -> list[int]:
    """The ends of the segments, the last one the length."""
    from ruptures import KernelCPD

    moves = np.abs(np.diff(values))
    noise = np.median(moves) / 0.6745 / np.sqrt(2)
    if noise == 0:  # a count that rarely moves: every move is meant
        noise = max(moves[moves > 0].min() / 10, 1e-9)
    signal = _calmed(values / noise, np).reshape(-1, 1)
    found = KernelCPD(kernel="linear", min_size=SHORTEST).fit(signal)
    return [int(end) for end in found.predict(pen=PENALTY * np.log(len(values)))]


def _calmed(values: "Floats", np: Any) -> "Floats":
    """Pull single outliers to the median of their neighbourhood (a Hampel filter)."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="edge"), 5)
    middle = np.median(around, axis=1)
    calmed: Floats = np.where(np.abs(values - middle) > OUTLIER, middle, values)
    return calmed


def _joints(ends: list[int]) -> list[tuple[int, int, int]]:
    """Begin, joint and end of every two segments that touch."""
    starts = [0, *ends[:-1]]
    return list(zip(starts, ends[:-1], ends[1:], strict=False))


def _step(
    series: MetricSeries, raw: "Floats", start: int, at: int, end: int, changes: Sequence[Moved]
) -> Step:
    before, after = median(raw[start:at].tolist()), median(raw[at:end].tolist())
    run = series.runs[at]
    return Step(
        run=run,
        before=before,
        after=after,
        ratio=after / before if before > 0 else None,
        verdict=stats.direction(after - before, series.better),
        environment=[what for change in changes if change.run == run for what in change.what],
    )
