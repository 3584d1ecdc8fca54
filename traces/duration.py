"""Durations as people write them: "1ms", "0.5s", "10m", "2h"."""

import re

from traces.errors import Problem

FASTEST_S = 0.001
"""A sampler's interval at least: a memory reading of NVML takes 35 to 55 us under load."""
SLOWEST_S = 3600.0
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse(text: str) -> float:
    """Return seconds. Raises Problem for anything that is not a positive number with a unit."""
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d+)?|\.\d+)\s*([a-z]+)\s*", text)
    if not match or match[2] not in _UNITS or float(match[1]) == 0:
        raise Problem(
            f"duration {text!r}: write a number above zero and a unit, as 1ms, 0.5s, 10m or 2h"
        )
    return float(match[1]) * _UNITS[match[2]]
