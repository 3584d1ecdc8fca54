"""Planted bugs must fail parity, and right outputs pass it: the bundled model, in bfloat16.

The padded backend's own loop generates; a bug is planted in what reaches the model or in what its
cache returns. Expected regrets are in docs/numbers.md; right engines stay under 0.2.
"""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from orchestrator import models
from traces.errors import Problem
from traces.job import Job, Prompt, Workload
from workers import parity, prepare

pytestmark = pytest.mark.slow

MODEL, OUTPUT = "smollm2-135m", 32
SEED_SUITE = Path(models.__file__).parent / "suites" / "seed.toml"


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> tuple[Path, list[Prompt]]:
    """The bundled model's folder, converted when it has not been, and the seed prompts as ids."""
    try:
        source = models.resolve(MODEL)
    except Problem as problem:
        pytest.skip(str(problem))
    out = tmp_path_factory.mktemp("prepared") / "workload.json"
    spec = tomllib.loads(SEED_SUITE.read_text())["workload"] | {"output_tokens": OUTPUT}
    said: dict[str, dict[str, Any]] = {}
    prepare.main(
        {
            "source": source.kind, "name": source.name, "path": source.path, "spec": spec,
            "cache": str(models.cache()), "seed": 0, "max_length": 2048, "workload": "seed",
            "out": str(out),
        },
        SimpleNamespace(send=lambda kind, **fields: said.update({kind: fields})),  # type: ignore[arg-type]
    )  # fmt: skip
    assert "done" in said, said
    return Path(said["done"]["folder"]), msgspec.json.decode(out.read_bytes(), type=Workload).requests


class Taken:
    """A recorder that keeps output ids."""

    def __init__(self) -> None:
        self.ids: dict[str, list[int]] = {}

    def request(self, prompt: Prompt, token_ids: list[int], *times: Any) -> None:
        self.ids[prompt.id] = token_ids

    def kv(self, *counts: Any, **more: Any) -> None: ...

    def blocks(self, *change: Any, **more: Any) -> None: ...


@pytest.fixture(scope="module")
def padded(bundled) -> Any:
    """The padded backend with the model loaded, and a recorder that is easy to read."""
    from workers.hf_batched import Worker

    folder, prompts = bundled
    job = Job(
        cell="padded", backend="hf-batched", options={}, model=str(folder), random_weights=False,
        dtype="bfloat16", device="cpu", workload="", folder="", max_length=2048, seed=0,
    )  # fmt: skip
    worker = Worker(job, Taken())  # type: ignore[arg-type]
    worker.import_engine()
    worker.load()
    return worker


@pytest.fixture(scope="module")
def judge(bundled) -> parity.Judge:
    folder, prompts = bundled
    model = parity.load(str(folder), "cpu", trust_remote_code=False)
    return parity.Judge(model, {p.id: p for p in prompts}, "bfloat16", {})


def no_mask(ids: Any, mask: Any) -> tuple[Any, Any]:
    """Pads count as tokens."""
    return ids, mask * 0 + 1


def right_padding(ids: Any, mask: Any) -> tuple[Any, Any]:
    """Pads stand between a prompt and its output."""
    for row, pads in enumerate((mask == 0).sum(dim=1).tolist()):
        ids[row], mask[row] = ids[row].roll(-pads), mask[row].roll(-pads)
    return ids, mask


def shifted_keys(keys: Any, values: Any) -> tuple[Any, Any]:
    """Every key stands one slot late."""
    return keys.roll(1, dims=2), values


def lost_value(keys: Any, values: Any) -> tuple[Any, Any]:
    """One slot of V is zero: the last but one of the longest prompt."""
    values = values.clone()
    values[:, :, SLOT] = 0
    return keys, values


SLOT = -40


@pytest.fixture
def outputs(padded, bundled, monkeypatch):
    """Generate with a bug planted in the inputs or in the cache."""

    def run(inputs: Any = None, cached: Any = None) -> dict[str, list[int]]:
        generate, make_cache = padded.model.generate, padded.make_cache

        def tampered(ids: Any, attention_mask: Any, **settings: Any) -> Any:
            ids, attention_mask = inputs(ids, attention_mask)
            return generate(ids, attention_mask=attention_mask, **settings)

        def broken() -> Any:
            cache = make_cache()
            update = cache.update
            cache.update = lambda *args, **kwargs: cached(*update(*args, **kwargs))
            return cache

        if inputs:
            monkeypatch.setattr(padded.model, "generate", tampered)
        if cached:
            monkeypatch.setattr(padded, "make_cache", broken)
        padded.recorder = Taken()
        padded.generate(bundled[1])
        return padded.recorder.ids

    return run


def test_the_right_output_passes(judge, outputs):
    verdict = judge.verdict(outputs(), "")
    print(verdict)
    assert verdict["verdict"] == "pass"


@pytest.mark.parametrize("bug", [no_mask, right_padding])
def test_a_bug_in_the_inputs_fails(judge, outputs, bug):
    verdict = judge.verdict(outputs(inputs=bug), "")
    print(bug.__name__, verdict)
    assert verdict["verdict"] == "fail"


@pytest.mark.parametrize("bug", [shifted_keys, lost_value])
def test_a_bug_in_the_cache_fails(judge, outputs, bug):
    verdict = judge.verdict(outputs(cached=bug), "")
    print(bug.__name__, verdict)
    assert verdict["verdict"] == "fail"
