"""What must have been stored, by nothing but the requests' lengths and when each had its last step.

From the step that gives its first token on, a running request computes one token a step. So one of
P tokens in and O out stores P + O - 1 at its last step, one less at the step before, and P + 1 at
the first step that only decodes. A step is *pure decode* where as many requests decode by that as
run. Where a request gave way, was left out of a step, or shares blocks, lengths do not tell.
"""

from typing import NamedTuple

import numpy as np

from measure.steps import kv_steps
from measure.timeline import Timeline


class Decoded(NamedTuple):
    """Tokens stored, summed over the records of pure decode steps: as counted, and by lengths."""

    records: int
    counted: int
    by_lengths: int


class Last(NamedTuple):
    """A request's last step: when it ended, and the tokens stored then by the engine's counter."""

    t: int
    name: str
    tokens: int
    prompt: int
    output: int


def last_steps(timeline: Timeline) -> list[Last]:
    """The last steps of the run's requests that came to their end, where the engine tells them."""
    begin, end = timeline.window("run") or (0, 0)
    whole = {r.id: r for r in timeline.requests if r.output_tokens and not r.ended}
    return [
        Last(t, name, tokens, whole[name].prompt_tokens, whole[name].output_tokens)
        for t, name, tokens in timeline.blocks.ends
        if name in whole and begin <= t <= end
    ]


def decoded(timeline: Timeline) -> Decoded | None:
    """Compare what pure decode steps stored; None where lengths do not tell."""
    steps, ends = kv_steps(timeline), last_steps(timeline)
    if steps is None or not ends or steps.preempted.any() or steps.shared.any():
        return None
    runs = steps.running > 0
    running, t = steps.running[runs], steps.t_ns[runs]
    _, step = np.unique(steps.step[runs], return_inverse=True)
    if np.isnan(steps.computed).all() or (steps.computed[runs] < running).any():
        return None
    expected, decoding = np.zeros(len(step) + 1), np.zeros(len(step) + 1)
    for last in ends:
        final = int(step[max(int(np.searchsorted(t, last.t)) - 1, 0)])
        first = final - last.output + 2
        if first < 1:
            return None
        expected[first : final + 1] += last.prompt + np.arange(1, last.output)
        decoding[first : final + 1] += 1
    pure = decoding[step] == running
    counted = steps.stored[runs][pure].sum()
    return Decoded(int(pure.sum()), int(counted), int(expected[step][pure].sum()))
