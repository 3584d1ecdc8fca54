"""Validity: two independent numbers for the same thing, side by side.

Each check says pass, fail or n/a and shows both. A check that cannot be made (the engine does not
count it, the machine cannot see it) is n/a, with the reason.
"""

from measure import allocator
from measure.ledger import LIMIT, below_zero, named_at_rest
from measure.result import Check, Kv, Ledger, Timing
from measure.timeline import Timeline
from measure.work import ended

SPEED_TOLERANCE = 0.01
USAGE_TOLERANCE = 0.02
WORKSPACE = {"nvml": 1 << 30, "pss": 128 << 20}
"""Bytes that engines make for themselves at rest: on a GPU 32 to 760 MiB were seen, else 85."""
MASKED = ("sdpa", "eager", "paged|sdpa", "paged|eager")
"""Attention of Transformers that needs a mask."""


def run_checks(
    timeline: Timeline,
    kv: Kv | None,
    ledger: Ledger | None,
    timing: Timing | None,
    asked_tokens: int | None,
    formula: int | None = None,
) -> list[Check]:
    """All checks, in the order they are shown."""
    facts = timeline.facts
    counted = sum(request.output_tokens for request in timeline.requests)
    return [
        check(
            "bytes per token: cache tensors against formula",
            timeline.layout.group.bytes_per_token,
            facts.formula_bytes_per_slot or formula,
        ),
        check(
            "output tokens: counted against asked",
            counted or None,
            asked_tokens,
            missing="a deadline ended the run" if ended(timeline.requests) else "not recorded",
        ),
        _usage(kv, facts.engine_kv_usage_peak),
        _ledger(ledger),
        _allocator(timeline, ledger),
        check(
            "throughput: ours against the engine's",
            timing.output_tokens_per_s if timing else None,
            facts.engine_throughput_tokens_per_s,
            SPEED_TOLERANCE,
            missing="the engine does not time itself",
        ),
    ]


def check(
    name: str,
    ours: float | None,
    theirs: float | None,
    tolerance: float = 0.0,
    note: str = "",
    missing: str = "not recorded",
) -> Check:
    """Compare two numbers; relative tolerance. `missing` says why the other one may not be."""
    if ours is None or theirs is None:
        why = missing if theirs is None else "not recorded"
        return Check(name=name, verdict="n/a", ours=ours, theirs=theirs, note=why)
    same = abs(ours - theirs) <= tolerance * abs(theirs)
    return Check(name=name, verdict="pass" if same else "fail", ours=ours, theirs=theirs, note=note)


def _usage(kv: Kv | None, engine: float | None) -> Check:
    """Ours counts the blocks in the tables of requests; the engine's, its pool's free ones.

    They part when a block is lost track of: held by nobody and not free, or freed and still held.
    """
    ours = kv.peak_reserved / kv.pool_slots if kv and kv.peak_reserved and kv.pool_slots else None
    name = "KV usage at its peak: ours against the engine's"
    return check(name, ours, engine, USAGE_TOLERANCE, missing="this engine has no gauge")


def _ledger(ledger: Ledger | None) -> Check:
    name = "ledger: sum of its lines against the measured total"
    if ledger is None:
        return check(name, None, None)
    named = ledger.total - ledger.residual
    if below := below_zero(ledger):
        note = f"below zero: {', '.join(below)}"
        return Check(name=name, verdict="fail", ours=named, theirs=ledger.total, note=note)
    if unknown := [line.name for line in ledger.lines if line.bytes is None]:
        return check(name, named, None, missing=f"not all lines are known: {', '.join(unknown)}")
    return check(name, named, ledger.total, LIMIT[ledger.against], f"against {ledger.against}")


def _allocator(timeline: Timeline, ledger: Ledger | None) -> Check:
    """Before the first request, what is handed out must be weights, pool and little else.

    Where a trace does not name the mask that Transformers' paged cache makes, or kernels repacked
    the weights, what is there beside them cannot be judged.
    """
    name = "allocator at rest: weights, KV pool and mask against what is handed out"
    rest, known = allocator.at_rest(timeline), named_at_rest(timeline)
    named = None if known is None else float(known)
    facts = timeline.facts
    attention = (facts.settings or {}).get("attention")
    if ledger is None or not rest:
        return check(name, named, None)
    if timeline.layout.kind == "paged" and attention in MASKED and facts.mask_bytes is None:
        return check(name, named, None, missing="this trace does not say how large the mask is")
    if facts.weights_repacked:
        return check(name, named, None, missing="kernels keep the weights in a form of their own")
    room = max(WORKSPACE[ledger.against], LIMIT[ledger.against] * ledger.total)
    return check(name, named, float(rest), room / rest)
