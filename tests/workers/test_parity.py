"""Planted bugs must fail parity, and right outputs pass it: the bundled model, in bfloat16.

The padded backend's own loop generates; a bug is planted in what reaches the model or in what its
cache returns. Seen here: right 0.03 at most; no mask 17, right padding 21, keys shifted by one 18,
one V slot zeroed 8.5 (other slots 0.65 to 15). The limit is 0.30.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator import models
from tests.workers.cells import BACKENDS
from traces.errors import Problem
from traces.job import Job, Prompt, Workload
from traces.messages import Message
from traces.parity import Judged, Judging
from traces.preparing import Preparation, Prepared
from traces.workload import Prompts
from workers import parity, prepare
from workers.drive import drive

pytestmark = pytest.mark.slow

MODEL, OUTPUT = "smollm2-135m", 16
TEXTS = [
    "Hello!",
    "How are you doing today? I hope everything is going well.",
    "Tell a story about a small robot that learns to read, and what it finds in the first book.",
    "The capital of France is",
]
LOST = 18  # the slot whose V is lost: the last but two of the longest prompt


class Said:
    """A channel that keeps the last message of each kind."""

    def __init__(self) -> None:
        self.kinds: dict[type[Message], Any] = {}

    def send(self, message: Message) -> None:
        self.kinds[type(message)] = message


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """On a busy machine two threads wait for each other: ten times slower than one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def bundled(tmp_path_factory) -> tuple[Path, list[Prompt]]:
    """The bundled model's folder, converted when it has not been, and the prompts as ids."""
    try:
        source = models.resolve(MODEL)
    except Problem as problem:
        pytest.skip(str(problem))
    out, said = tmp_path_factory.mktemp("prepared") / "workload.json", Said()
    prepare.main(
        Preparation(
            source=source, cache=str(models.cache()), name="test", seed=0, max_length=2048,
            spec=Prompts(prompts=TEXTS, output_tokens=OUTPUT), out=str(out),
        ),
        said,  # type: ignore[arg-type]
    )  # fmt: skip
    workload = msgspec.json.decode(out.read_bytes(), type=Workload)
    return Path(said.kinds[Prepared].folder), workload.requests


class Taken:
    """A recorder that keeps output ids."""

    def __init__(self) -> None:
        self.ids: dict[str, list[int]] = {}

    def request(self, prompt: Prompt, token_ids: list[int], *times: Any) -> None:
        self.ids[prompt.id] = token_ids

    def kv(self, *counts: Any, **more: Any) -> None: ...

    def blocks(self, *change: Any, **more: Any) -> None: ...

    def memory(self, *state: Any) -> None: ...


@pytest.fixture(scope="module")
def padded(bundled) -> Any:
    """The padded backend with the model loaded, and a recorder that is easy to read."""
    from workers.hf_batched import Worker

    job = Job(
        module="", cell="padded", backend="hf-batched", options={}, model=str(bundled[0]),
        dtype="bfloat16", random_weights=False, device="cpu", workload="", folder="",
        max_length=2048, seed=0,
    )  # fmt: skip
    worker = Worker(job, Taken())  # type: ignore[arg-type]
    worker.prepare()
    worker.open()
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
    """One slot of V is zero, in every layer."""
    values = values.clone()
    values[:, :, LOST] = 0
    return keys, values


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
        padded.recorder = taken = Taken()
        drive(padded, bundled[1], taken)  # type: ignore[arg-type]
        return taken.ids

    return run


def test_the_right_output_passes(judge, outputs):
    verdict = judge.verdict(outputs(), "")
    assert verdict.verdict == "pass"
    assert verdict.max_regret < 0.2
    assert f"{len(TEXTS) * OUTPUT} tokens of {len(TEXTS)} requests" in verdict.note


@pytest.mark.parametrize(
    ("regrets", "verdict"),
    [
        ([1.2] + [0.0] * 1499, "pass"),  # one near-tie that rounding decided, of three allowed
        ([1.2] * 4 + [0.0] * 1496, "fail"),
        ([0.31] + [0.0] * 255, "fail"),  # too few tokens for any
        ([0.0625] * 8 + [0.0] * 24, "pass"),  # a mean of 0.0156, over few
        ([0.0625] * 160 + [0.0] * 864, "fail"),  # 0.0098, over many
    ],
)
def test_regret_is_judged_by_how_many_tokens_there_are(monkeypatch, regrets, verdict):
    judge = parity.Judge(None, {}, "bfloat16", {})
    monkeypatch.setattr(judge, "regret", lambda name, ids: (regrets, regrets))
    found = judge.verdict({"0000": [1]}, "")
    assert found.verdict == verdict
    assert (
        f"{sum(r > 0.3 for r in regrets)} above 0.3 where {len(regrets) // 500} may be"
        in found.note
    )


def test_outputs_that_time_cut_are_compared_as_far_as_both_came(monkeypatch):
    """01 parts from the reference within the prefix, 00 and 02 agree with it as far as they go."""
    reference = {"00": [1, 2, 3], "01": [1, 2, 3], "02": [1]}
    judge = parity.Judge(None, {}, "float32", reference)
    monkeypatch.setattr(judge, "regret", lambda name, ids: ([0.0] * len(ids), [0.0] * len(ids)))
    found = judge.verdict({"00": [1, 2], "01": [1, 5], "02": [1, 4, 4]}, "whole")
    assert (found.identical, found.compared) == (2, 3)
    assert found.first_divergence is not None
    assert (found.first_divergence["request"], found.first_divergence["position"]) == ("01", 1)


def test_what_a_deadline_left_is_judged_and_who_got_nothing_is_not(ran, model):
    found = ran("hf-sequential", "hurried")
    said = Said()
    parity.main(
        Judging(
            model=str(model), device="cpu", dtype="float32", reference="cell",
            workload=str(found.folder / "workload.json"), trust_remote_code=False,
            cells={"cell": str(found.folder / "worker.jsonl")},
        ),
        said,  # type: ignore[arg-type]
    )  # fmt: skip
    verdict = said.kinds[Judged].parity["cell"]
    served = [r for r in found.requests.values() if r.token_ids]
    assert len(served) < parity.MOST_REQUESTS  # those that are judged, if they got anything
    assert (verdict.verdict, verdict.compared) == ("pass", len(served))
    assert f"{sum(len(r.token_ids) for r in served)} tokens" in verdict.note


@pytest.mark.parametrize("bug", [no_mask, right_padding])
def test_a_bug_in_the_inputs_fails(judge, outputs, bug):
    verdict = judge.verdict(outputs(inputs=bug), "")
    assert verdict.verdict == "fail"
    assert verdict.max_regret > 1


@pytest.mark.parametrize("bug", [shifted_keys, lost_value])
def test_a_bug_in_the_cache_fails(judge, outputs, bug):
    verdict = judge.verdict(outputs(cached=bug), "")
    assert verdict.verdict == "fail"
    assert verdict.max_regret > 1


def test_the_first_divergence_is_shown_with_both_tokens(bundled, judge, outputs):
    right = outputs()
    judge = parity.Judge(judge._model, judge._prompts, "bfloat16", right)
    wrong = {name: list(ids) for name, ids in right.items()}
    name = bundled[1][1].id
    wrong[name][5] = (right[name][5] + 1000) % 49152
    verdict = judge.verdict(wrong, "hf-sequential")
    assert verdict.verdict == "fail"
    assert (verdict.identical, verdict.compared) == (len(TEXTS) - 1, len(TEXTS))
    first = verdict.first_divergence
    assert (first["request"], first["position"]) == (name, 5)
    assert (first["token"], first["reference_token"]) == (wrong[name][5], right[name][5])
    assert first["logprob"] < first["reference_logprob"]


def test_all_backends_are_judged_identical_in_float32(ran, model):
    cells = {backend: str(ran(backend).folder / "worker.jsonl") for backend in BACKENDS}
    said = Said()
    workload = ran("vllm").folder / "workload.json"
    parity.main(
        Judging(
            model=str(model), device="cpu", dtype="float32", workload=str(workload),
            reference="hf-sequential", trust_remote_code=False, cells=cells,
        ),
        said,  # type: ignore[arg-type]
    )  # fmt: skip
    for backend, verdict in said.kinds[Judged].parity.items():
        assert verdict.verdict == "pass", backend
        assert verdict.identical == verdict.compared == len(ran(backend).prompts)
        assert verdict.first_divergence is None
        assert verdict.max_regret <= parity.EXACT_REGRET
