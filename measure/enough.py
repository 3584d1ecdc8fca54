"""What would have been enough: the smallest KV cache that holds what this run held at its peak.

The same requests in the same order fit it, for nothing was ever held beyond it. An engine that
keeps blocks for itself, or room for one request of the greatest length, gets those as well.
"""

import math

from measure.ledger import SLACK
from measure.result import Enough, Kv, Ledger
from measure.timeline import Timeline


def enough(timeline: Timeline, kv: Kv | None, ledger: Ledger | None) -> Enough | None:
    """The cache in blocks and bytes, and the share of the device that a cell with it needs."""
    if kv is None or not kv.peak_reserved or not kv.bytes_per_slot:
        return None
    blocks, slots = None, kv.peak_reserved
    if kv.layout == "paged" and kv.block_size:
        blocks = _blocks(timeline, kv.peak_reserved, kv.block_size)
        slots = blocks * kv.block_size
    size = slots * kv.bytes_per_slot
    share = _share(timeline, size, ledger)
    return Enough(pool_blocks=blocks, pool_bytes=size, gpu_memory_utilization=share)


def _blocks(timeline: Timeline, held: int, block: int) -> int:
    """Blocks for the slots held at the peak, and those that the engine never gives to a request."""
    facts, layout = timeline.facts, timeline.layout
    pool, size = layout.rank.pool_bytes, layout.group.bytes_per_token
    kept = 0
    if pool and size and facts.num_blocks:
        kept = pool // (size * block) - facts.num_blocks
    longest = int((facts.settings or {}).get("max_model_len") or 0)
    return math.ceil(max(held, longest) / block) + kept


def _share(timeline: Timeline, cache: int, ledger: Ledger | None) -> float | None:
    """The share of its devices' memory that the cell needs with this cache, without slack."""
    total = sum((d.about and d.about.memory_total) or 0 for d in timeline.seen.owned())
    if ledger is None or not total:
        return None
    sizes = [line.bytes for line in ledger.lines if line.name not in ("KV", SLACK)]
    known = [size for size in sizes if size is not None]
    return (cache + sum(known)) / total if len(known) == len(sizes) else None
