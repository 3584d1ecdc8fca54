"""The part of a result that is about speed: what was offered, the rates, and each request's times.

Seconds are float, shares between 0 and 1. A null means "could not be had".
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

TokensBy = Literal["counted", "derived"]
Ended = Literal["deadline"]


class Work(Struct, kw_only=True, frozen=True):
    """What a cell was offered, whatever came of it. `sha256` is the workload's.

    `load` is "closed" (all requests at the begin), or how many are kept in flight.
    """

    sha256: str
    requests: int
    load: str = "closed"
    deadline_s: float | None = None


class Timing(Struct, kw_only=True):
    """Seconds. Percentiles are shown for any number of requests but gate only when supported."""

    wall: float
    output_tokens_per_s: float | None
    """The run rate: over the time from the begin to the last token, or to the deadline."""
    total_tokens_per_s: float | None
    ttft_mean: float | None
    ttft_p50: float | None
    ttft_p90: float | None
    ttft_p99: float | None
    tpot_mean: float | None
    tpot_p50: float | None
    tpot_p90: float | None
    tpot_p99: float | None
    full_load_tokens_per_s: float | None = None
    """Over the time from the first to the last step with 0.8 of the most requests in flight."""
    itl_p50: float | None = None
    itl_p99: float | None = None
    full_load_itl_p50: float | None = None
    full_load_itl_p99: float | None = None
    tokens_by: TokensBy | None = None
    """How it is known when tokens came: counted by the steps, or derived from first and last."""
    why: dict[str, str] = field(default_factory=dict)
    """The reasons of what is null."""
    joules: float | None = None
    joules_per_token: float | None = None
    joules_why: str | UnsetType = UNSET
    """Why the energy is not known, where there was a device."""


class RequestRow(Struct, kw_only=True):
    """One request: counts are exact, times are seconds from the begin of the run phase."""

    id: str
    prompt_tokens: int
    output_tokens: int
    arrive: float = 0.0
    start: float | None
    first: float | None
    last: float | None
    token_ids_sha256: str
    ended: Ended | UnsetType = UNSET
