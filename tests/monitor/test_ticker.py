"""The compiled ticks: made once a version, missed by no one, and honest when nobody takes them."""

import os
import time
from pathlib import Path

import msgspec
import pytest

from monitor import ticker as module
from monitor.compiled import REACHED, load
from monitor.ticker import Ticker
from monitor.ticks import NS, SLOW_DISK, Ticks
from orchestrator import compiler
from tests.monitor.double import Sampling
from traces import clock
from traces.records import Gap, Host, Sample

MS = 1_000_000


@pytest.fixture
def compiled():
    made = compiler.ticker()
    if "ticker" not in made:
        pytest.skip(made["no_ticker"])
    return load(made["ticker"])


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_compiled_once_a_version(compiled, cache, monkeypatch):
    first = compiler.ticker()["ticker"]
    assert first.startswith(str(cache))
    monkeypatch.setenv("PATH", "/nowhere")
    assert compiler.ticker() == {"ticker": first}
    monkeypatch.setattr(compiler, "OPTIONS", (*compiler.OPTIONS, "-g"))
    assert "there is no C compiler (cc)" in compiler.ticker()["no_ticker"]
    assert [path.suffix for path in (cache / "pagedbench" / "compiled").iterdir()] == [".so"]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CC", "no-such-cc", "there is no C compiler (no-such-cc); install gcc, or set CC"),
        ("CC", "'cc", "there is no C compiler ('cc)"),
        ("CC", "false", "false cannot compile"),
        ("CC", "true", "true compiles nothing"),
        ("CC", "/etc/passwd", "there is no C compiler (/etc/passwd)"),
        ("CC", "sh -c 'echo ticker.c:1: wrong >&2; exit 1'", ": ticker.c:1: wrong"),
        ("XDG_CACHE_HOME", "/proc/cache", "cannot write to /proc/cache"),
    ],
)
def test_what_keeps_it_from_being_compiled_is_one_line(cache, monkeypatch, variable, value, words):
    monkeypatch.setenv(variable, value)
    (why,) = compiler.ticker().values()
    assert words in why
    assert "\n" not in why


def test_without_it_a_gpu_is_refused_in_one_line(driver, tmp_path):
    without = {"ticker": None, "no_ticker": "there is no C compiler (cc)"}
    words = r"a GPU cannot be watched: there is no C compiler \(cc\)"
    with (
        Sampling(tmp_path, driver, **without) as sampling,
        pytest.raises(AssertionError, match=words),
    ):
        sampling.wait("watching")


def test_a_broken_one_is_one_line(driver, tmp_path):
    broken = tmp_path / "ticker.so"
    broken.write_bytes(b"\x7fELF")
    with (
        Sampling(tmp_path, driver, ticker=str(broken)) as sampling,
        pytest.raises(AssertionError, match=r"cannot load .*ticker\.so .*remove it"),
    ):
        sampling.wait("watching")


def test_without_a_gpu_it_is_not_needed(driver, tmp_path):
    without = {"ticker": None, "interval_s": 0.01}
    with Sampling(tmp_path, driver, gpus=[], watching=os.getpid(), **without) as sampling:
        sampling.until(lambda s: len(s.of(Host)) > 5)
        sampling.stop()


def test_ticks_keep_to_the_grid_and_come_in_order(compiled):
    start = clock.now() + 2 * MS
    ticks = Ticks(0.001, start)
    ticker = Ticker(compiled, [], ticks, 1.0)
    assert ticker.run(start + 200 * MS) == REACHED
    assert clock.now() >= start + 200 * MS
    before, lines = ticker.take()
    ticker.count()
    assert before <= clock.now()
    assert ticks.done + ticks.missed == 200
    assert lines.count(b'"gap"') == lines.count(b"\n") <= ticks.missed


def test_records_of_the_ticking_thread_lie_among_its_ticks_as_long_as_there_is_room(
    compiled, monkeypatch
):
    monkeypatch.setattr(module, "KEPT_S", 0)
    monkeypatch.setattr(module, "LEAST_KEPT", 4)
    ticker = Ticker(compiled, [], Ticks(0.001, clock.now()), 1.0)
    before = clock.now()
    for missed in range(9):
        ticker.note(Gap(t=0, missed=missed, span=7, cause="x"))
    taken, lines = ticker.take()
    kept = [msgspec.json.decode(line) for line in lines.splitlines()]
    assert [record["missed"] for record in kept] == [0, 1, 2]
    times = [record["t"] for record in kept]
    assert before <= times[0] <= times[-1] <= taken
    assert times == sorted(times)
    ticker.note(Gap(t=0, missed=9, span=7, cause="x"))
    assert b'"missed":9' in ticker.take()[1]


def test_it_can_be_stopped_in_a_long_wait(compiled):
    ticker = Ticker(compiled, [], Ticks(3600.0, clock.now() + 3600 * NS), 1.0)
    compiled.ticker_stop(ticker._ticker)
    begin = time.monotonic()
    ticker.run()
    assert time.monotonic() - begin < 1


def test_readings_that_nobody_takes_are_a_gap_with_its_cause(compiled, monkeypatch):
    monkeypatch.setattr(module, "KEPT_S", 0)
    monkeypatch.setattr(module, "LEAST_KEPT", 12)
    start = clock.now() + 2 * MS
    ticks = Ticks(0.001, start)
    ticker = Ticker(compiled, [], ticks, 1.0)
    ticker.run(start + 50 * MS)
    ticker.take()
    ticker.count()
    assert ticks.done <= 12
    ticker.run(start + 60 * MS)
    _, lines = ticker.take()
    ticker.count()
    first = lines.split(b"\n")[0]
    assert SLOW_DISK.encode() in first
    assert 35 <= ticks.missed <= 50
    assert ticks.done + ticks.missed == 60


def test_the_ticks_are_served_before_busy_programs(driver, tmp_path):
    """By real-time priority, or where that is not permitted by a short slice."""
    with Sampling(tmp_path, driver, interval_s=0.001) as sampling:
        sampling.until(lambda s: s.of(Sample))
        tasks = Path(f"/proc/{sampling.process.pid}/task").iterdir()
        policies = {
            os.sched_getscheduler(int(task.name)) & ~os.SCHED_RESET_ON_FORK for task in tasks
        }
        sampling.stop()
    urgent = {os.SCHED_FIFO} if may_be_urgent() else set[int]()
    assert policies == {os.SCHED_OTHER} | urgent


def may_be_urgent() -> bool:
    """Say whether real-time priority is permitted here."""
    child = os.fork()
    if child == 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0
