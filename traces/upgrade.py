"""Records of format 1 as of today: one group, one rank.

Format 1 had the slots of its one group in the kv record itself, and the sizes of the layout among
the facts.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Any

import msgspec
from msgspec import Struct

from traces.errors import Problem
from traces.facts import Values
from traces.layout import CacheGroup, Layout, Rank
from traces.records import AnyRecord, Facts, Kv, LaidOut, Record, Slots


class SizesOf1(Struct, kw_only=True):
    """The facts of format 1 that a layout holds today, in its names."""

    kv_layout: str | None = None
    bytes_per_slot: int | None = None
    block_size: int | None = None
    pool_bytes: int | None = None
    weights_bytes: int | None = None
    graph_bytes: int | None = None
    context_bytes: int | None = None


class KvOf1(Record, kw_only=True, omit_defaults=True, gc=False, tag="kv"):
    """Slots at one engine step, as format 1 had them."""

    step: int
    live_tokens: int
    reserved_slots: int
    pool_slots: int
    pad_slots: int = 0
    ahead_tokens: int = 0
    shared_slots: int = 0
    running: int
    waiting: int = 0
    preempted: int = 0
    computed: int | None = None
    produced: int | None = None


RecordOf1: Any = reduce(or_, (KvOf1 if kind is Kv else kind for kind in AnyRecord.__args__))


def upgraded(records: Iterable[Any], where: str) -> Iterator[AnyRecord]:
    """Yield the records of a trace of format 1. Raises Problem for a size that is none."""
    known: Values = {}
    for record in records:
        if type(record) is KvOf1:
            yield _kv(record)
            continue
        if type(record) is Facts and (sizes := taken(record.values)):
            known |= sizes
            try:
                yield LaidOut(t=record.t, layout=one_group(known))
            except msgspec.ValidationError as error:
                raise Problem(f"{where}: a fact is not what it should be: {error}") from None
        yield record


def taken(facts: Values) -> Values:
    """Take from the facts what a layout holds today, and return it."""
    return {name: facts.pop(name) for name in SizesOf1.__struct_fields__ if name in facts}


def one_group(said: Values) -> Layout:
    """Return the layout that these facts tell of. Raises ValidationError for a wrong type."""
    sizes = msgspec.convert(said, SizesOf1)
    tokens, size = sizes.block_size, sizes.bytes_per_slot
    block = None if tokens is None or size is None else tokens * size
    rank = Rank(
        weights_bytes=sizes.weights_bytes, pool_bytes=sizes.pool_bytes,
        graph_bytes=sizes.graph_bytes, context_bytes=sizes.context_bytes,
    )  # fmt: skip
    group = CacheGroup(bytes_per_token=size, block_tokens=tokens, bytes_per_block=block)
    return Layout(kind=sizes.kv_layout, groups=[group], ranks=[rank])


def _kv(old: KvOf1) -> Kv:
    slots = Slots(
        old.reserved_slots, old.live_tokens, old.shared_slots, old.pad_slots, old.ahead_tokens
    )
    return Kv(
        t=old.t, step=old.step, groups=[slots], pool=old.pool_slots, running=old.running,
        waiting=old.waiting, preempted=old.preempted, computed=old.computed,
        produced=old.produced, why=old.why,
    )  # fmt: skip
