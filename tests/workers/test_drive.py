"""Driving in virtual time: the clock goes only as the engine steps, and all is counted by hand."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.workers.plans import prompts
from traces.errors import Problem
from traces.job import Prompt
from workers import drive
from workers.backend import Came, Tell

SECOND = 10**9


class Engine:
    """`rows` requests at once; a step of `step_s` gives a token to each, and only it takes time."""

    longest = 100

    def __init__(self, rows: int = 1000, step_s: float = 1.0) -> None:
        self.rows, self.step_s = rows, step_s
        self.now = 100 * SECOND
        self.queue: list[Prompt] = []
        self.batch: dict[str, tuple[Prompt, int, int]] = {}
        self.steps: list[list[str]] = []
        self.due: dict[str, int] = {}
        self.given_up: list[str] = []

    def clock(self) -> int:
        return self.now

    def submit(self, prompt: Prompt, due: int) -> None:
        self.queue.append(prompt)
        self.due[prompt.id] = due // SECOND

    def step(self, until: int, tell: Tell) -> bool:
        while self.queue and len(self.batch) < self.rows:
            prompt = self.queue.pop(0)
            self.batch[prompt.id] = (prompt, 0, self.now)
        self.steps.append([*self.batch])
        self.now += round(self.step_s * SECOND)
        came = []
        for name, (prompt, had, start) in list(self.batch.items()):
            self.batch[name] = (prompt, had + 1, start)
            ended = had + 1 == prompt.output_tokens
            came.append(Came(name, [had], self.now, ended, start))
            if ended:
                del self.batch[name]
        tell(came)
        return True

    def cancel(self, tell: Tell) -> None:
        self.given_up = [*self.batch, *(prompt.id for prompt in self.queue)]
        self.batch.clear()
        self.queue.clear()


class Batches(Engine):
    """One batch a call, until it is done or told to stop, as Transformers' generate is."""

    def __init__(self, rows: int = 1000, step_s: float = 1.0) -> None:
        super().__init__(rows, step_s)
        self.waiting: list[Prompt] = []

    def submit(self, prompt: Prompt, due: int) -> None:
        super().submit(prompt, due)
        self.waiting.append(self.queue.pop())

    def step(self, until: int, tell: Tell) -> bool:
        stop = False

        def told(came: Sequence[Came]) -> bool:
            nonlocal stop
            stop = tell(came)
            return stop

        self.queue, self.waiting = self.waiting[: self.rows], self.waiting[self.rows :]
        while self.queue or (self.batch and not stop):
            super().step(until, told)
        return True


class Recorder:
    """Keeps what was recorded: tokens, arrival, start, first, last in seconds, and how it ended."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Any, ...]] = {}

    def request(
        self, prompt: Prompt, token_ids: list[int], arrive: int, start: Any, first: Any, last: Any,
        ended: str | None,
    ) -> None:  # fmt: skip
        times = [t and t // SECOND - 100 for t in (arrive, start, first, last)]
        assert prompt.id not in self.found
        self.found[prompt.id] = (len(token_ids), *times, ended)


def run(engine: Any, lengths: list[int], **how: Any) -> tuple[dict[str, Any], drive.Outcome]:
    """Run requests of these output lengths; return what was recorded, and the outcome."""
    recorder: Any = Recorder()
    requests = prompts([(4, length) for length in lengths])
    done = drive.drive(engine, requests, recorder, now=engine.clock, **how)
    return recorder.found, done


def test_a_closed_load_is_there_at_the_begin():
    engine = Engine()
    found, done = run(engine, [3, 1, 2])
    assert found == {
        "00": (3, 0, 0, 1, 3, None), "01": (1, 0, 0, 1, 1, None), "02": (2, 0, 0, 1, 2, None),
    }  # fmt: skip
    assert done == (3, None, 0)
    assert engine.steps == [["00", "01", "02"], ["00", "02"], ["00"]]


def test_so_many_in_flight_are_refilled_at_once():
    """Two at a time: 01 ends after 1 s and 02 comes, 00 and 02 end after 3 s and 03 comes."""
    engine = Engine()
    found, _ = run(engine, [3, 1, 2, 1], concurrency=2)
    assert engine.steps == [["00", "01"], ["00", "02"], ["00", "02"], ["03"]]
    assert [found[name][1] for name in ("00", "01", "02", "03")] == [0, 0, 1, 3]
    assert engine.due == {"00": 100, "01": 100, "02": 101, "03": 103}


def test_an_engine_of_batches_is_a_queue_and_waiting_counts():
    """Rows of two: 00 and 01 until 3 s, then 02 for 2 s, since the batch ends with its longest."""
    found, _ = run(Batches(rows=2), [3, 1, 2])
    assert found["02"] == (2, 0, 3, 4, 5, None)


def test_refilled_requests_wait_for_the_next_batch():
    """01 ends at 1 s and 02 is offered then, but the batch goes on until 3 s."""
    found, _ = run(Batches(rows=2), [3, 1, 2], concurrency=2)
    assert found["02"] == (2, 1, 3, 4, 5, None)


@pytest.mark.parametrize("kind", [Engine, Batches])
def test_at_the_deadline_the_rest_is_given_up_with_what_had_come(kind):
    """Two rows and 2.5 s: two tokens each, the third would come at 3 s and does not count."""
    engine = kind(rows=2)
    found, done = run(engine, [5, 2, 4, 1], budget_s=2.5)
    # In batches 02 waits for 00; an engine that refills begins it at 2 s, too late for a token.
    assert found == {
        "00": (2, 0, 0, 1, 2, "deadline"), "01": (2, 0, 0, 1, 2, None),
        "02": (0, 0, None, None, None, "deadline"), "03": (0, 0, None, None, None, "deadline"),
    }  # fmt: skip
    assert done == (1, "deadline", SECOND // 2)
    assert "00" in engine.given_up


def test_a_token_on_the_deadline_counts():
    found, done = run(Engine(), [2], budget_s=2)
    assert found["00"] == (2, 0, 0, 1, 2, None)
    assert done == (1, None, 0)


def test_a_request_that_ends_too_late_has_not_ended():
    found, done = run(Engine(), [1, 3], budget_s=2.5)
    assert found["01"] == (2, 0, 0, 1, 2, "deadline")
    assert done.finished == 1


def test_who_was_never_offered_is_recorded_too():
    found, _ = run(Engine(), [4, 4, 4], concurrency=1, budget_s=2)
    assert [found[name][0] for name in ("00", "01", "02")] == [2, 0, 0]
    assert found["02"] == (0, 2, None, None, None, "deadline")


def test_what_came_by_the_deadline_and_was_not_taken_yet_counts():
    engine = Engine(step_s=3)

    def cancel(tell: Tell) -> None:
        engine.now = 105 * SECOND
        tell(
            [Came("00", [7], 104 * SECOND, False, None), Came("00", [8], 106 * SECOND, True, None)]
        )

    engine.cancel = cancel  # type: ignore[method-assign]
    found, done = run(engine, [9], budget_s=5)  # a token at 3 s, one more while it was cancelled
    assert found["00"] == (2, 0, 0, 3, 4, "deadline")
    assert done.overshoot == 0


def test_a_budget_under_the_first_forward_pass_says_what_that_took():
    message = "budget of 2.5 s: the first forward pass took 4 s: raise the budget"
    for engine in (Engine(step_s=4), Batches(step_s=4)):
        with pytest.raises(Problem, match=message):
            run(engine, [2, 2], budget_s=2.5)


def test_a_forward_pass_that_has_not_ended_is_said_to_last():
    engine = Engine()

    def nothing(until: int, tell: Tell) -> bool:
        engine.now = until + SECOND
        return True

    engine.step = nothing  # type: ignore[method-assign]
    with pytest.raises(Problem, match=r"within the budget of 2 s: .* had not ended after 3 s"):
        run(engine, [2], budget_s=2)


def test_steps_without_output_while_none_runs_are_an_error():
    engine = Engine()

    def nothing(until: int, tell: Tell) -> bool:
        engine.now += SECOND
        return False

    engine.step = nothing  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="2 requests wait, and the engine runs none"):
        run(engine, [2, 2])
    assert engine.now == 112 * SECOND  # more than 10 s after the first such step


def test_steps_without_output_are_right_while_one_runs():
    """A long prompt in parts gives nothing for a while."""
    engine, step = Engine(), Engine.step

    def slow(until: int, tell: Tell) -> bool:
        if engine.now < 150 * SECOND:
            engine.now += SECOND
            return True
        return step(engine, until, tell)

    engine.step = slow  # type: ignore[method-assign]
    found, _ = run(engine, [1])
    assert found["00"] == (1, 0, 50, 51, 51, None)


def test_a_request_that_is_too_long_is_refused_before_anything_runs():
    engine = Engine()
    with pytest.raises(Problem, match=r"request 01: 101 tokens .* may have 100: raise kv_budget"):
        run(engine, [96, 97])
    assert not engine.steps


def test_progress_is_told_now_and_then():
    told: list[int] = []
    run(Engine(step_s=0.1), [1, 2, 3, 4, 5, 6], report=told.append)
    assert told == [3, 6]  # every 0.25 s at most, so at 0.3 and 0.6 s
