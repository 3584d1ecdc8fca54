"""What was the same for one engine under two allocation policies, in a sentence."""

from typing import Any

from compare.summary import Column
from traces.units import share, size


def equal(columns: list[Column], labels: tuple[str, str]) -> str:
    """By the engine's own settings; `labels` are of the paged column and of the reserving one."""
    paged, reserving = (next(c for c in columns if c.label == label) for label in labels)
    engine = paged.first.engine
    settings, versions = engine.get("settings") or {}, engine.get("versions") or {}
    parts = [
        f"{paged.backend} {versions.get(paged.backend, '')}".strip(),
        "kernels, weights, requests and token ids",
        _pool(paged),
        _most(settings, paged, reserving),
    ]
    if "prefix_caching" in settings:
        parts.append(f"prefix caching {'on' if settings['prefix_caching'] else 'off'}")
    said = ", ".join(filter(None, parts))
    return f"The same for both: {said}. Only how many blocks a request is given differs."


def _pool(column: Column) -> str:
    pool, kv = column.values.get("kv_pool_bytes"), column.first.kv
    blocks = f" in blocks of {kv.block_size} tokens" if kv and kv.block_size else ""
    return f"a pool of {size(pool)}{blocks}" if pool else ""


def _most(settings: dict[str, Any], *columns: Column) -> str:
    """The engine's limit of requests at once, and how long each policy ran at it."""
    most = settings.get("max_num_seqs")
    kvs = [(column.label, column.first.kv) for column in columns]
    known = [(label, kv.full_batch_share) for label, kv in kvs if kv]
    reached = [f"{label} {share(part)} of its time" for label, part in known if part]
    return f"at most {most} requests at once" + (f" ({', '.join(reached)})" if reached else "")
