"""Whether what the sampler is asked to do can be done."""

from traces.errors import Problem
from traces.sampling import Settings

FASTEST_S = 0.001
"""1 kHz: at NVML's cost of 35 to 55 us a memory reading under load, faster is not cheap."""
SLOWEST_S = 3600.0


def check(settings: Settings) -> None:
    """Raise Problem for a rate that is too high or too low."""
    for name in ("interval_s", "slow_interval_s", "procs_interval_s", "host_interval_s"):
        value = getattr(settings, name)
        if value is not None and not FASTEST_S <= value <= SLOWEST_S:
            raise Problem(f"sampler: {name} = {value:g}: must lie between 1 ms and 1 h")
