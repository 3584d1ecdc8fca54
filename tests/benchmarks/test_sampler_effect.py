"""How much a sampler slows a program down: found beside drift, and not where there is none."""

import os
import random
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from benchmarks.sampler import effect as sampler_effect
from benchmarks.sampler.effect import alternating, fitting, interval, speed_ratio
from benchmarks.sampler.program import Program
from benchmarks.sampler.tools import Tool

SECOND = 1_000_000_000


@pytest.mark.parametrize("slower", [0.0, 0.02])
@pytest.mark.parametrize("first", [True, False])
def test_a_slow_down_is_told_from_drift(slower, first):
    """Steps get a third longer on the way, vary by 5 %, and some take three times as long."""
    noise = random.Random(7)
    blocks = [(n * SECOND, (n + 1) * SECOND, (n % 2 == 0) == first) for n in range(20)]
    steps, now = [], 0
    while now < 20 * SECOND:
        on = blocks[now // SECOND][2]
        usual = 0.01 * (1 + now / SECOND / 60) * noise.gauss(1, 0.05)
        stall = 3 if noise.random() < 0.001 else 1
        end = now + int(SECOND * usual * stall * (1 + slower * on))
        steps.append((now, end))
        now = end
    assert speed_ratio(steps, blocks) == pytest.approx(1 / (1 + slower), abs=0.008)


def test_seconds_without_steady_work_are_not_compared():
    blocks = [(n * SECOND, (n + 1) * SECOND, n % 2 == 0) for n in range(4)]
    work = [(t, t + SECOND // 10) for t in range(SECOND, 3 * SECOND, SECOND // 10)]
    assert speed_ratio(work, blocks) == 1.0
    with pytest.raises(SystemExit, match="too short"):
        speed_ratio(work[:10], blocks)


class Hog(Tool):
    """Takes all that it can of the core that we are on."""

    name = "hog"

    def start(self, watched):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        spin = [sys.executable, "-c", "while True: pass"]
        self.process = subprocess.Popen(spin, start_new_session=True)
        self.session = self.process.pid

    def stop(self):
        self.process.kill()
        self.process.wait()
        return {"readings": None}


class Counting(Program):
    """A program that counts, in steps of some milliseconds."""

    def __init__(self):
        self.pid = 0

    def do(self, order):
        times = [time.monotonic_ns()]
        while times[-1] - times[0] < float(order.split()[1]) * SECOND:
            sum(range(100_000))
            times.append(time.monotonic_ns())
        return list(pairwise(times))


@pytest.mark.parametrize("on", [True, False])
def test_a_program_on_the_same_core_halves_the_speed(on, monkeypatch):
    monkeypatch.setattr(sampler_effect, "BLOCK_S", 0.3)
    cores = os.sched_getaffinity(0)
    hog = Hog()
    try:
        steps, blocks = alternating(hog, Counting(), 2.0, on)
    finally:
        os.sched_setaffinity(0, cores)
        hog.stop()
    assert [block[2] for block in blocks[:4]] == [on, not on, on, not on]
    assert 0.3 < speed_ratio(steps, blocks) < 0.75


def test_the_effect_has_its_interval():
    found = interval([0.99, 1.0, 1.01, 1.02, 0.98])
    assert found["change"] == pytest.approx(0, abs=2e-4)
    assert found["low"] == pytest.approx(-0.0196, abs=2e-3)
    assert found["high"] == pytest.approx(0.0196, abs=2e-3)
    assert interval([1.0])["change"] is None


def test_rounds_end_in_time():
    begun = time.monotonic()
    rounds = 0
    for _ in fitting(10, begun + 0.35):
        time.sleep(0.1)
        rounds += 1
    assert rounds == 3
    assert len(list(fitting(2, begun + 60))) == 2
    assert list(fitting(2, begun)) == []
