"""The loop's own decisions, without an engine: budgets of time and of memory, and the warm-up."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.plans import prompts
from traces.errors import Problem
from traces.job import Prompt
from workers import backend, loop
from workers.backend import Deadline, Span
from workers.hf_batched import DEFAULT_ROWS
from workers.hf_batched import Worker as Batched
from workers.hf_sequential import Worker as Sequential


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only when told."""
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(backend, "time", SimpleNamespace(monotonic=lambda: now.s))
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


class Engine:
    """Takes `rows` requests at a time, and a second for each token of the longest.

    Each prompt token takes `prompt_s` seconds before. Of the rows, `at_once` have room in memory.
    """

    def __init__(self, clock: Any, rows: int, prompt_s: float = 0.0, at_once: int = 1000) -> None:
        self._clock, self._rows, self._prompt_s, self._at_once = clock, rows, prompt_s, at_once
        self.recorder: Any = SimpleNamespace(arrive=0, finished=0, spans=[])
        self.batches: list[list[Prompt]] = []

    def batch_size(self, prompts: list[Prompt]) -> int:
        return self._rows

    def generate(self, prompts: list[Prompt]) -> None:
        self.batches.append(prompts)
        self._clock.s += self._prompt_s * sum(len(prompt.prompt_ids) for prompt in prompts)
        for begin in range(0, len(prompts), self._at_once):
            wave = prompts[begin : begin + self._at_once]
            for prompt in wave:
                first, steps = int((self._clock.s + 1) * 1e9), prompt.output_tokens - 1
                if steps:
                    self.recorder.spans.append(Span(first, first + steps * 10**9, steps))
            self._clock.s += max(prompt.output_tokens for prompt in wave)


def run(
    clock: Any, rows: int, lengths: list[int], budget_s: float | None, **engine_is: Any
) -> tuple[Engine, str]:
    """Run requests with these output lengths; return the engine and the reason."""
    engine = Engine(clock, rows, **engine_is)
    requests = prompts([(4, length) for length in lengths])
    pace = loop.warm_up(engine, requests, engine.recorder, budget_s, "cpu")  # type: ignore[arg-type]
    engine.batches.clear()
    _, reason = loop.run(
        engine, SimpleNamespace(budget_s=budget_s), requests, engine.recorder,  # type: ignore[arg-type]
        SimpleNamespace(send=lambda *a, **k: None), pace,  # type: ignore[arg-type]
    )  # fmt: skip
    return engine, reason


def test_without_a_budget_everything_runs(clock):
    engine, reason = run(clock, 2, [10] * 5, None)
    assert [len(batch) for batch in engine.batches] == [2, 2, 1]
    assert reason == ""


def test_a_batch_starts_when_one_as_long_as_the_longest_would_end_in_time(clock):
    engine, reason = run(clock, 1, [10, 20, 5, 5, 5], 40)
    assert len(engine.batches) == 2  # 30 s are gone; another 20 would pass 40
    assert reason == "time budget of 40 s: another batch would pass it"


def test_the_first_batch_always_runs(clock):
    engine, reason = run(clock, 2, [10, 10, 10], 0.5)
    assert len(engine.batches) == 1
    assert reason


def test_deadline_without_a_budget_never_ends(clock):
    deadline = Deadline(None)
    clock.s += 1e9
    assert deadline.allows_another()


def test_deadline_ends_on_the_second(clock):
    deadline = Deadline(10)
    clock.s += 5
    assert deadline.allows_another()  # 5 + 5 are 10
    clock.s += 0.1
    assert not deadline.allows_another()  # 5.1 + 5 are not


def test_an_engine_that_takes_all_runs_as_many_as_its_pace_allows(clock):
    # 16 requests of 16 tokens took 16 s: a second a step, for 16 requests at once
    engine, reason = run(clock, 40, [32] * 40, 20)
    assert [len(batch) for batch in engine.batches] == [1]
    assert "at the warm-up's 1000.0 ms a step of 16 requests no more requests fit" in reason
    engine, reason = run(clock, 40, [32] * 40, 42)
    assert [len(batch) for batch in engine.batches] == [20]
    engine, reason = run(clock, 40, [32] * 40, 100)
    assert [len(batch) for batch in engine.batches] == [40]
    assert reason == ""


def test_the_pace_does_not_take_the_prompts_time_for_the_steps(clock):
    # The trial: 64 s of prompts, 15 of steps. A long output at 79 s for 16 steps would not fit.
    engine, _ = run(clock, 20, [16] * 19 + [100], 182, prompt_s=1.0)
    assert [len(batch) for batch in engine.batches] == [20]
    engine, _ = run(clock, 20, [16] * 20, 80, prompt_s=1.0)
    assert [len(batch) for batch in engine.batches] == [15]


def test_the_pace_is_that_of_the_requests_that_had_room(clock):
    # The trial: 4 waves of 4 requests and 16 s. A wave of 32 tokens each takes 32 s.
    engine, reason = run(clock, 40, [32] * 40, 100, at_once=4)
    assert "of 4 requests" in reason
    assert [len(batch) for batch in engine.batches] == [12]  # 3 waves, and prompts


def test_no_row_is_a_clear_line_before_anything_is_generated(clock):
    engine = Engine(clock, 0)
    with pytest.raises(Problem, match="the KV budget is under one request"):
        loop.warm_up(engine, prompts([(4, 4)]), engine.recorder, None, "cpu")  # type: ignore
    assert not engine.batches


def test_warm_up_prompts_share_no_prefix_with_the_run():
    (prompt,) = prompts([(40, 20)])
    (short,) = loop.short([prompt], 8, "warmup")
    assert short.prompt_ids == prompt.prompt_ids[::-1]
    assert (short.id, short.output_tokens) == ("warmup-00", 8)


def rows(kind: Any, slots: int | None, **options: int) -> int:
    """Rows that a backend takes of requests of at most 90 + 40 slots, 10 bytes a slot."""
    budget = None if slots is None else slots * 10
    worker = kind(SimpleNamespace(kv_budget=budget, options=options), None)
    worker.formula_bytes_per_slot = lambda: 10
    taken: int = worker.rows(prompts([(90, 14), (1, 40)]))
    return taken


@pytest.mark.parametrize(
    ("kind", "slots", "options", "expected"),
    [
        (Batched, None, {}, DEFAULT_ROWS),
        (Batched, None, {"batch_size": 3}, 3),
        (Batched, 130, {}, 1),
        (Batched, 129, {}, 0),
        (Batched, 1300, {}, 10),
        (Batched, 1300, {"batch_size": 3}, 3),
        (Batched, 260, {"batch_size": 3}, 2),
        (Sequential, None, {}, 1),
        (Sequential, 1300, {}, 1),
        (Sequential, 104, {}, 1),  # one at a time: the longest request, not the longest sum
        (Sequential, 103, {}, 0),
    ],
)
def test_rows_fit_the_budget(kind, slots, options, expected):
    assert rows(kind, slots, **options) == expected
