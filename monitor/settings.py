"""Whether what the sampler is asked to do can be done."""

from traces.duration import FASTEST_S, SLOWEST_S
from traces.errors import Problem
from traces.sampling import Settings


def check(settings: Settings) -> None:
    """Raise Problem for a rate that is too high or too low."""
    for name in ("interval_s", "slow_interval_s", "procs_interval_s", "host_interval_s"):
        value = getattr(settings, name)
        if value is not None and not FASTEST_S <= value <= SLOWEST_S:
            raise Problem(f"sampler: {name} = {value:g}: must lie between 1 ms and 1 h")
