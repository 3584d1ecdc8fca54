"""Which of a machine's devices a cell owns: the one place that says so.

A worker computes on the first device that CUDA shows it, and the sampler lists devices in CUDA's
order. The others may be idle or somebody else's: their memory, energy, load and processes are not
the cell's. Ledger, energy, doubts, the certificate's baseline and the page's title all ask here.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

COUNT = 1  # no backend spreads one model over several devices

T = TypeVar("T")


def owned(devices: Iterable[T]) -> list[T]:
    """Return those of the devices, in CUDA's order, that a cell owns; none where there is none."""
    return list(islice(devices, COUNT))
