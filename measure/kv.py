"""KV use over the run phase: what was stored, what was held, how long.

Step counts hold from their step until the next one, the last until the run phase ends, so every
mean is weighted by time. Efficiency is the integral of tokens stored over the integral of slots
held, over the time when slots were held at all. Step efficiency is the same without the time: a
ratio of counts, which a run that takes the same steps repeats to the last digit on any machine.
Where several records tell of one step, the last of them counts for it.
"""

from measure import result
from measure.restate import counting
from measure.steps import KvSteps, kv_steps
from measure.timeline import Timeline
from measure.waste import waste_by_cause


def summarize(timeline: Timeline) -> result.Kv | None:
    """Summarise the KV cache's use, or None where no step was recorded."""
    found = kv_steps(timeline)
    if found is None:
        return None
    group = timeline.layout.group
    holding, each = found.held > 0, found.last_of_each()
    holding_ns = float(found.dt_ns[holding].sum())
    stored, held = found.integral(found.stored), found.integral(found.held)
    efficiency = _ratio(found.integral(found.stored * holding), held)
    bytes_per_slot = group.bytes_per_token
    pool = int(found.pool.max())
    return result.Kv(
        steps=int(each.sum()),
        bytes_per_slot=bytes_per_slot,
        efficiency=efficiency,
        step_efficiency=_ratio(float(found.stored[each].sum()), float(found.held[each].sum())),
        mean_live=_ratio(stored, holding_ns),
        mean_reserved=_ratio(held, holding_ns),
        peak_live=int(found.stored.max()),
        peak_reserved=int(found.held.max()),
        pool_slots=pool,
        bytes_held_per_live_token=_ratio(bytes_per_slot, efficiency),
        mean_running=_ratio(found.integral(found.running), holding_ns),
        peak_running=int(found.running.max()),
        preempted=int(found.preempted.sum()),
        full_batch_share=_ratio(_full_batch(timeline, found), holding_ns),
        waste=waste_by_cause(timeline, found),
        block_size=group.block_tokens,
        layout=timeline.layout.kind,
        peak_live_bytes=_times(found.stored.max(), bytes_per_slot),
        peak_reserved_bytes=_times(found.held.max(), bytes_per_slot),
        counted=counting(timeline),
        pool_bytes=_pool_bytes(timeline, pool),
    )


def _full_batch(timeline: Timeline, found: KvSteps) -> float | None:
    """Nanoseconds in which the engine's limit of requests was reached, where it told one."""
    most = (timeline.facts.settings or {}).get("max_num_seqs")
    return found.integral(found.running >= most) if most else None


def _pool_bytes(timeline: Timeline, slots: int) -> int | None:
    """The engine's own account of its pool, or the slots of a run that had only a part of it."""
    group, pool = timeline.layout.group, timeline.layout.rank.pool_bytes
    whole = (timeline.facts.num_blocks or 0) * (group.block_tokens or 0)
    if pool and slots >= whole:
        return pool
    return _times(slots, group.bytes_per_token)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _times(slots: float, bytes_per_slot: float | None) -> int | None:
    return None if bytes_per_slot is None else int(slots * bytes_per_slot)
