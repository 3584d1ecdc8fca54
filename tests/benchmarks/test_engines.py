"""The engine benchmark's arithmetic: order, amount of work, judgement, and the peer's flags."""

from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest

from benchmarks.engines import arms as engines_arms
from benchmarks.engines import peer as engines_peer
from benchmarks.engines import table as engines_table
from benchmarks.engines.table import Figures, Run
from traces import clock
from traces.job import Job, Prompt, Workload


def figures(a: Sequence[float], b: Sequence[float], **named) -> Figures:
    runs = [Run(arm, 1.0, round(rate)) for arm, rates in (("a", a), ("b", b)) for rate in rates]
    return Figures(name="x", a="A", b="B", runs=runs, **named)


STEADY = [100_000, 100_050, 99_950, 100_020, 99_980]
NOISY = [80_000, 120_000, 95_000, 105_000, 100_000]


def scaled(rates: Sequence[float], factor: float) -> list[float]:
    return [rate * factor for rate in rates]


@pytest.mark.parametrize(
    ("b", "one_sided", "expected"),
    [
        (scaled(STEADY, 0.995), False, "yes"),
        (scaled(STEADY, 0.98), False, "no"),
        (scaled(STEADY, 1.03), False, "no"),
        (scaled(STEADY, 1.03), True, "yes"),
        (scaled(STEADY, 0.98), True, "no"),
        (NOISY, False, "open"),
        (NOISY, True, "open"),
    ],
)
def test_met_is_said_of_the_whole_interval(b, one_sided, expected):
    assert engines_table.met(figures(STEADY, b, one_sided=one_sided)) == expected


def test_two_runs_an_arm_say_nothing():
    assert engines_table.met(figures(STEADY[:2], STEADY[:2])) == "open"


def test_arms_take_turns():
    assert "".join(engines_arms.turns(5)) == "abbaabbaab"


@pytest.mark.parametrize(("start", "token"), [(2.0, 0.01), (0.5, 0.1), (0.0, 3.0)])
def test_work_is_found_that_takes_the_seconds(monkeypatch, start, token):
    spent = [0.0]

    def arm(prompts: list[Prompt]) -> int:
        spent[0] += start + token * prompts[0].output_tokens
        return sum(prompt.output_tokens for prompt in prompts)

    monkeypatch.setattr(clock, "now", lambda: int(spent[0] * 1e9))
    prompts = [Prompt(id=str(n), prompt_ids=[1], output_tokens=1) for n in range(4)]
    tokens, rounds = engines_arms.amount(arm, prompts, 20.0, 900)
    seconds, came = engines_arms.timed(
        arm, [msgspec.structs.replace(p, output_tokens=tokens) for p in prompts], rounds
    )
    assert seconds == pytest.approx(20.0, rel=0.1)
    assert came == 4 * tokens * rounds


def test_the_peer_gets_our_settings_as_flags(tmp_path):
    work = tmp_path / "workload.json"
    prompt = Prompt(id="0", prompt_ids=[1] * 32, output_tokens=7)
    work.write_bytes(msgspec.json.encode(Workload(name="w", sha256="", requests=[prompt])))
    job = Job(
        module="m", cell="c", backend="vllm", options={"max_num_seqs": 3}, model="m",
        random_weights=True, dtype="bfloat16", device="cuda", workload=str(work),
        folder=str(tmp_path), max_length=99, seed=0,
    )  # fmt: skip
    argv = engines_peer._argv(job, "tokenizer")
    said = dict(pairwise(argv))
    expected = {
        "--model": "m", "--tokenizer": "tokenizer", "--load-format": "dummy",
        "--max-model-len": "99", "--max-num-seqs": "3", "--random-input-len": "32",
        "--random-output-len": "7", "--num-prompts": "1",
    }  # fmt: skip
    assert expected.items() <= said.items()
    assert {"--async-scheduling", "--no-enforce-eager", "--enable-prefix-caching"} <= set(argv)
    assert not any("scheduler-cls" in word or "worker" in word for word in argv)
