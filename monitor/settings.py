"""What the sampler is asked to do: paths, rates and which devices. Only `path` is required."""

from typing import Any

import msgspec

from traces.duration import FASTEST_S, SLOWEST_S
from traces.errors import Problem


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds between readings of each kind, which devices to watch, and whom to follow.

    `ticker` is where monitor/ticker.c lies compiled; without it `no_ticker` says why, and a GPU
    cannot be watched. `host_interval_s` None chooses 0.1 s without a GPU, where the tree's
    resident memory is read every `interval_s`, and 0.2 s with one.
    `pss_interval_s` 0 means at phase ends only; None chooses 1 s without a GPU (PSS is what the
    ledger closes against there) and 5 s with one. `gpus` names devices by index or UUID and wins
    over `cuda_visible_devices`, which is the environment's unless given. `marker` names an
    environment variable that every descendant of a watched process inherits. `watching` is the
    pid to follow from the start, before any mark. `progress_interval_s` asks for progress messages.
    """

    path: str
    ticker: str | None = None
    no_ticker: str = "monitor/ticker.c is not compiled"
    interval_s: float = 0.01
    slow_interval_s: float = 0.2
    procs_interval_s: float = 1.0
    host_interval_s: float | None = None
    pss_interval_s: float | None = None
    progress_interval_s: float | None = None
    gpus: list[int | str] | None = None
    cuda_visible_devices: str | None = None
    marker: str | None = "PAGEDBENCH_MARK"
    watching: int | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict)


def read(config: dict[str, Any]) -> Settings:
    """Validate the orchestrator's config."""
    try:
        settings = msgspec.convert(config, Settings)
    except msgspec.ValidationError as error:
        raise Problem(f"sampler: {error}") from None
    for name in ("interval_s", "slow_interval_s", "procs_interval_s", "host_interval_s"):
        value = getattr(settings, name)
        if value is not None and not FASTEST_S <= value <= SLOWEST_S:
            raise Problem(f"sampler: {name} = {value:g}: must lie between 1 ms and 1 h")
    return settings
