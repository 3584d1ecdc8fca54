"""One clock for every process of a host: CLOCK_MONOTONIC, in nanoseconds.

Linux gives all processes the same monotonic clock, so traces of one boot merge without
alignment. `boot_id` tells two boots apart; the paired wall reading says when it was.
"""

import time
from pathlib import Path

CLOCK = "CLOCK_MONOTONIC"

now = time.monotonic_ns


def boot_id() -> str:
    """Return the kernel's id of this boot, or "" where there is none (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def paired() -> tuple[int, int]:
    """Return (monotonic ns, wall ns) of one instant: the wall read between two monotonic reads."""
    before = now()
    wall = time.time_ns()
    return (before + now()) // 2, wall
