"""A small serving simulation, to have traces that look like real ones without an engine.

The same requests run on a static cache, on a growing one, in a padded batch, and in blocks. Time is
made up (5 ms a step); the counts of slots and blocks follow the rules of each layout exactly.
"""

import random
from collections.abc import Iterator
from typing import Any

from tests.measure.folder import GPU, MIB, Folder, at, host, phase, request, sample, step, told
from traces.records import Blocks, Energy, Load, Phase, Record

STEP = 5.0
BEGIN = 3000.0  # the run phase begins here, in milliseconds
PER_SLOT = 23040
Asked = list[tuple[str, int, int]]


def asked(n: int = 16, seed: int = 1) -> Asked:
    """Requests: id, prompt tokens, output tokens."""
    rng = random.Random(seed)
    return [
        (f"r{i:03d}", rng.randint(4, 160), max(2, int(rng.lognormvariate(3.3, 0.7))))
        for i in range(n)
    ]


def begin(layout: str, **facts: Any) -> list[Record]:
    """The phases before the run, and the facts."""
    about = {
        "kv_layout": layout, "bytes_per_slot": PER_SLOT, "formula_bytes_per_slot": PER_SLOT,
        "weights_bytes": 257 * MIB, **facts,
    }  # fmt: skip
    return [
        *phase("import", 0, 1200),
        *phase("load", 1200, 2500),
        *phase("warmup", 2500, 2900),
        *told(2900, about),
        Phase(t=at(BEGIN), name="run", edge="begin"),
    ]


def end(ms: float) -> list[Record]:
    """The phases after it."""
    return [Phase(t=at(ms), name="run", edge="end"), *phase("teardown", ms + 20, ms + 300)]


def one_by_one(requests: Asked, static: int | None) -> Iterator[Record]:
    """One request after another, on a static cache of that length or on one that grows."""
    now = BEGIN
    yield from begin("static" if static else "dynamic", max_cache_len=static)
    for name, prompt, output in requests:
        yield Blocks(t=at(now), request=name, gained=[0])
        begun = now
        for i in range(output):
            live = prompt + i
            yield step(now, live, static or live)
            now += STEP
        yield Blocks(t=at(now), request=name, lost=[0])
        yield step(now, 0, static or 0, running=0)
        yield request(name, prompt, output, begun, begun + STEP, now, BEGIN)
    yield from end(now + 5)


def padded(requests: Asked, batch: int) -> Iterator[Record]:
    """Batches padded to their longest prompt, kept until their longest output is done."""
    now = BEGIN
    yield from begin("padded")
    for place in range(0, len(requests), batch):
        rows = requests[place : place + batch]
        longest, most = max(p for _, p, _ in rows), max(o for _, _, o in rows)
        begun = now
        for row, (name, _, _) in enumerate(rows):
            yield Blocks(t=at(now), request=name, gained=[row])
        for i in range(most):
            live = sum(p + i for _, p, o in rows if i < o)
            held = len(rows) * (longest + i)
            running = sum(i < o for _, _, o in rows)
            yield step(now, live, held, pad=held - live, running=running)
            now += STEP * 2
        for row, (name, prompt, output) in enumerate(rows):
            last = begun + output * STEP * 2
            yield Blocks(t=at(now), request=name, lost=[row])
            yield request(name, prompt, output, begun, begun + STEP * 2, last, BEGIN)
    yield step(now, 0, 0, running=0)
    yield from end(now + 5)


def paged(requests: Asked, block: int = 16, pool: int = 512, most: int = 8) -> Iterator[Record]:
    """Continuous batching on blocks: up to `most` requests at once, first come first served."""
    yield from begin("paged", block_size=block, num_blocks=pool, pool_bytes=pool * block * PER_SLOT)
    free, now = list(range(1, pool + 1)), BEGIN
    waiting: list[tuple[str, int, int]] = list(requests)
    running: list[Any] = []
    while waiting or running:
        while waiting and len(running) < most:
            running.append([*waiting.pop(0), 0, [], now])
        for one in running:
            name, prompt, _, done, table, _ = one
            need = -(-(prompt + done) // block) - len(table)
            if need > 0:
                gained = [free.pop(0) for _ in range(need)]
                table += gained
                yield Blocks(t=at(now), request=name, gained=gained)
        live = sum(one[1] + one[3] for one in running)
        held = sum(len(one[4]) for one in running) * block
        yield step(now, live, held, pool=pool * block, running=len(running), waiting=len(waiting))
        now += STEP * 1.5
        for one in running:
            one[3] += 1
        for one in [one for one in running if one[3] >= one[2]]:
            running.remove(one)
            free += one[4]
            yield Blocks(t=at(now), request=one[0], lost=one[4])
            yield request(one[0], one[1], one[2], one[5], one[5] + STEP * 1.5, now, BEGIN)
    yield step(now, 0, 0, pool=pool * block, running=0)
    yield from end(now + 5)


def readings(records: list[Record], kv: float, gpu: bool) -> Iterator[Record]:
    """What a sampler would have seen of a cell, every 20 ms. `kv` is MiB of cache at its most."""
    last = max(record.t for record in records)
    for i in range(0, int((last - at(0)) / 1e6) + 800, 20):
        grown = min(1.0, max(0.0, (i - 1200) / 1000))
        over = at(i) > last
        mib = 40 if over else int(300 + grown * (257 + kv) + (30 if i % 200 == 0 else 0))
        yield host(i, mib)
        if gpu:
            yield sample(i, None if over and i % 3 == 0 else mib)
    if gpu:
        yield Load(
            t=at(100), uuid=GPU, gpu_util=50, mem_util=20, power_w=200.0, sm_clock=1, mem_clock=1,
            temperature=40, throttle=[],
        )  # fmt: skip
        for when, joules in ((BEGIN, 1000), ((last - at(0)) / 1e6 - 305, 1500)):
            yield Energy(t=at(when), uuid=GPU, total_mj=joules * 1000, where="edge")


def run_folder(folder: Folder, gpu: bool = False, n: int = 16) -> Folder:
    """A whole run of four backends. They share one clock here: each cell has its own sampler."""
    requests = asked(n)
    cells = {
        "hf-sequential": list(one_by_one(requests, None)),
        "hf-static": list(one_by_one(requests, 512)),
        "hf-batched": list(padded(requests, 8)),
        "vllm": list(paged(requests)),
    }
    longest = max(cells.values(), key=lambda records: max(r.t for r in records))
    folder.samples(sorted(readings(longest, 60, gpu), key=lambda r: r.t))
    for label, records in cells.items():
        folder.cell(label, records)
    folder.workload([output for _, _, output in requests])
    return folder
