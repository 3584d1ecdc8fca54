"""Build run folders for the tests: the files an orchestrator, a sampler and workers would write."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from measure.build import Meta
from traces.records import (
    Blocks,
    Facts,
    Host,
    Kv,
    LaidOut,
    Phase,
    Record,
    Request,
    Sample,
    Slots,
)
from traces.upgrade import one_group, taken
from traces.writer import Writer

MS = 1_000_000
MIB = 1 << 20
SLOTS = {"shared", "pad", "ahead"}
GPU = "GPU-1111"
ORDER = ("hf-sequential", "hf-static", "hf-batched", "hf-paged", "vllm")
BASE = 10_000_000_000_000  # the tests' times are milliseconds after this


def at(ms: float) -> int:
    """A time of the tests' clock."""
    return BASE + int(ms * MS)


def phase(name: str, begin: float, end: float | None) -> list[Record]:
    """Begin and end of a phase."""
    edges: list[Record] = [Phase(t=at(begin), name=name, edge="begin")]
    return [*edges, Phase(t=at(end), name=name, edge="end")] if end is not None else edges


def step(ms: float, live: int, reserved: int, **more: Any) -> Kv:
    """One kv record, of a step of its own."""
    slots = Slots(reserved, live, **{n: more.pop(n) for n in SLOTS & more.keys()})
    fields: dict[str, Any] = {"step": int(ms * 1000), "pool": reserved, "running": 1, **more}
    return Kv(t=at(ms), groups=[slots], **fields)


def told(ms: float, values: dict[str, Any]) -> list[Record]:
    """The layout and the facts, from values in one row; the sizes have the names they had there."""
    facts = {name: value for name, value in values.items() if value is not None}
    layout = one_group(taken(facts))
    return [LaidOut(t=at(ms), layout=layout), Facts(t=at(ms), values=facts)]


def request(
    name: str, prompt: int, output: int, start: float, first: float, last: float, arrive: float
) -> Request:
    """One finished request."""
    return Request(
        t=at(last), id=name, prompt_tokens=prompt, output_tokens=output, arrive=at(arrive),
        start=at(start), first=at(first), last=at(last), token_ids=list(range(output)),
        token_ids_sha256=f"{output:064x}",
    )  # fmt: skip


def host(ms: float, mib: int) -> Host:
    """One reading of the process tree."""
    return Host(
        t=at(ms), rss=mib * MIB, pss=mib * MIB, processes=1, cpu_s=1.0, host_used=1, host_total=2,
        load1=0.0,
    )  # fmt: skip


def sample(ms: float, mib: int | None, uuid: str = GPU) -> Sample:
    """One reading of a device."""
    return Sample(t=at(ms), uuid=uuid, used=mib and mib * MIB, free=None, reserved=0)


def contiguous(slots: int = 100) -> list[Record]:
    """A static cache of 100 slots and one request of 10 + 3 tokens, over 30 ms of a 40 ms run.

    Live 10, 11, 12 for 10 ms each, then 0 for 10 ms: efficiency 330 / 4000 = 0.0825.
    """
    return [
        *phase("import", 0, 100),
        *phase("load", 100, 200),
        *phase("warmup", 200, 290),
        Phase(t=at(300), name="run", edge="begin"),
        Blocks(t=at(300), request="a", gained=[0]),
        step(300, 10, slots, computed=10),
        step(310, 11, slots, computed=1),
        step(320, 12, slots, computed=1),
        Blocks(t=at(330), request="a", lost=[0], stored=12),
        request("a", 10, 3, 300, 310, 330, 300),
        step(330, 0, slots, running=0),
        Phase(t=at(340), name="run", edge="end"),
        *phase("teardown", 350, 400),
        *told(
            345,
            {"kv_layout": "static", "bytes_per_slot": 1024, "formula_bytes_per_slot": 1024},
        ),
    ]


def paged() -> list[Record]:
    """Blocks of 4 slots; one request of 3 + 4 tokens (6 stored), one step of 10 ms each.

    Live 3, 4, 5, 6 in 4, 4, 8, 8 slots: efficiency 18 / 24 = 0.75. In the last two steps 8 slots
    hold a request of 6: internal 4 / 24, reservation (1 + 0 + 1 + 0) / 24.
    """
    return [
        *phase("import", 0, 100),
        *phase("load", 100, 200),
        *phase("warmup", 200, 290),
        Phase(t=at(300), name="run", edge="begin"),
        Blocks(t=at(300), request="a", gained=[7]),
        step(300, 3, 4, pool=64, computed=3),
        step(310, 4, 4, pool=64, computed=1),
        Blocks(t=at(320), request="a", gained=[9]),
        step(320, 5, 8, pool=64, computed=1),
        step(330, 6, 8, pool=64, computed=1),
        Blocks(t=at(340), request="a", lost=[7, 9], stored=6),
        request("a", 3, 4, 300, 310, 340, 300),
        step(340, 0, 0, pool=64, running=0),
        Phase(t=at(350), name="run", edge="end"),
        *phase("teardown", 360, 400),
        *told(
            355,
            {
                "kv_layout": "paged", "block_size": 4, "bytes_per_slot": 1024,
                "formula_bytes_per_slot": 1024, "weights_bytes": 100 * MIB,
            },
        ),
    ]  # fmt: skip


@dataclass
class Folder:
    """A run folder under construction."""

    path: Path
    offset: float = 0
    _samples: list[Record] = field(default_factory=list)

    def cell(self, label: str, records: list[Record], **about: Any) -> Path:
        """Add a cell's folder with its traces and cell.json."""
        repeat = about.get("repeat", 0)
        folder = self.path / "cells" / f"{label}.r{repeat}"
        folder.mkdir(parents=True)
        _write(folder / "worker.jsonl", f"worker {label}", records)
        ran = sum(isinstance(record, Request) for record in records)
        self.about(folder, label, **{"requests_asked": ran, **about})
        return folder

    def about(self, folder: Path, label: str, **about: Any) -> None:
        """Write a cell.json."""
        said = {
            "label": label, "backend": label, "options": {}, "repeat": 0, "status": "ok",
            "reason": "", "requests_asked": 1, "truncated": "", "folder": folder.name,
            "certificate": {}, "log_tail": [], "pid": 4242, "suspect": [], "parity": None,
            **about,
        }  # fmt: skip
        (folder / "cell.json").write_text(json.dumps(said))

    def samples(self, records: list[Record], name: str = "samples.jsonl") -> None:
        """Write a sampler's trace."""
        _write(self.path / name, "sampler", records)

    def workload(self, outputs: list[int]) -> None:
        """Write workload.json."""
        requests = [
            {"id": str(i), "text": None, "prompt_ids": [1], "output_tokens": n}
            for i, n in enumerate(outputs)
        ]
        (self.path / "workload.json").write_text(
            json.dumps({"name": "one", "sha256": "", "requests": requests})
        )


def _write(path: Path, writer: str, records: list[Record]) -> None:
    with Writer(path, writer) as out:
        for record in records:
            out.write(record)


def meta(**more: Any) -> Meta:
    """What the orchestrator knows beside the cells."""
    known = {
        "suite": {"name": "test", "backend": [{"name": name} for name in ORDER]},
        "model": {
            "name": "tiny", "source": "shape", "sha256": None, "layers": 1, "kv_heads": 1,
            "head_dim": 256, "vocab_size": 10, "max_position": 100, "weights_bytes": None,
            "same_weights": True,
        },
        "dtype": "float32",
        "device": "cpu",
        "workload": {
            "name": "one", "sha256": "0" * 64, "requests": 1, "prompt_tokens": 10,
            "output_tokens": 3, "max_total": 13,
        },
        "environment": {"python": "3.11"},
        "complete": True,
        **more,
    }  # fmt: skip
    return msgspec.convert(known, Meta)
