"""How much like decode steps differ in time: a steady host takes as long for the same work.

Like are steps with as many requests running and, within 25 %, as many tokens stored. The cost of a
step is that of both; what is left is the host's and the device's.
"""

import numpy as np
from numpy.typing import NDArray

from measure.columns import Columns, Floats

GROUP = 30  # steps at least, for percentiles
STORED = 1.25  # from one group's smallest to its largest


def spread(kv: Columns) -> float | None:
    """The 90th percentile of the time of like steps over the 10th; None with too few of them.

    `kv` are the records of one run. Several groups are weighted by their steps.
    """
    places = _decode(kv)
    t, running = kv.times(), kv.column("running")[places]
    took = (t[places + 1] - t[places]).astype(float)
    size = np.floor(np.log(kv.column("stored")[places]) / np.log(STORED))
    _, group = np.unique(np.stack([running, size]), axis=1, return_inverse=True)
    ratios, weights = [], []
    for number, steps in enumerate(np.bincount(group.ravel())):
        if steps >= GROUP:
            ratios.append(_ratio(took[group.ravel() == number]))
            weights.append(steps)
    return float(np.average(ratios, weights=weights)) if ratios else None


def _decode(kv: Columns) -> NDArray[np.intp]:
    """Where the steps are that, as the one before, gave each running request one token.

    Both: an engine that schedules ahead records a step while the one before it executes.
    """
    live, running = kv.column("stored"), kv.column("running")
    pure = (np.diff(live) == running[1:]) & (np.diff(running) == 0) & (running[1:] > 0)
    return np.flatnonzero(pure[1:-1] & pure[:-2]) + 2


def _ratio(took: Floats) -> float:
    slow, fast = np.percentile(took, (90, 10))
    return float(slow / fast)
