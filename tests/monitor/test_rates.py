"""At 1 kHz: short spikes are seen, what is not seen is admitted, and eight GPUs are no burden."""

import os
import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from monitor import watch
from tests.monitor.double import GIB, A, Sampling
from traces.records import End, Gap, Sample
from traces.sampling import Settings

MS = 1_000_000
PERIOD, LENGTH = 50_000_000, 5_000_000


def test_every_spike_of_5_ms_is_seen_or_lies_in_a_gap(driver, tmp_path):
    driver.write(f"gpu {A} H100 {80 * GIB} {GIB} 0", f"spike {A} {GIB} {PERIOD // 1000} 5000")
    with Sampling(tmp_path, driver, interval_s=0.001) as sampling:
        sampling.wait("watching")
        time.sleep(2)
        sampling.stop()
    samples = sampling.of(Sample)
    high = [sample.t for sample in samples if sample.used == 2 * GIB]
    gaps = [(gap.t - gap.span, gap.t) for gap in sampling.of(Gap)]
    first, last = samples[0].t // PERIOD + 1, samples[-1].t // PERIOD
    assert last - first >= 35
    seen = [n for n in range(first, last) if any(0 <= t - n * PERIOD < LENGTH * 1.2 for t in high)]
    for n in set(range(first, last)) - set(seen):
        begin, end = n * PERIOD, n * PERIOD + LENGTH
        assert any(start < end and stop > begin for start, stop in gaps), "neither seen nor a gap"
    assert len(seen) >= 20


@pytest.mark.parametrize(("gpus", "at_least_ms"), [(1, 5010), (0, 1000)])
def test_dear_readings_of_pss_are_rarer_beside_a_gpu(monkeypatch, gpus, at_least_ms):
    """A reading of 10 ms may come every 5 s; without a GPU the ledger needs them all."""
    now, read_at = [0], []

    def host(tree, pss, interference):
        if pss:
            read_at.append(now[0])
            now[0] += 10 * MS

    gpu: Any = SimpleNamespace(
        uuid=A, baseline=None, used_now=lambda: (0, None), processes=lambda: ({}, None)
    )
    settings = Settings(path="", host_interval_s=0.1, pss_interval_s=1.0, watching=os.getpid())
    put: Any = SimpleNamespace(put=lambda record: None, flush=lambda: None)
    monkeypatch.setattr(watch, "clock", SimpleNamespace(now=lambda: now[0]))
    monkeypatch.setattr(watch, "host", host)
    watching = watch.Watch(settings, [gpu] * gpus, put, put)
    (every, job), *_ = watching.periodic(0)
    for tick in range(200):
        now[0] = tick * 100 * MS
        if every.come(now[0]):
            job()
    waited = [(b - a) // MS for a, b in pairwise(read_at)]
    assert len(waited) >= 3
    assert all(at_least_ms <= wait < at_least_ms + 100 for wait in waited)


def test_eight_gpus_are_read_at_every_tick(driver, tmp_path):
    uuids = [f"GPU-{n}aaaaaaa-1111-2222-3333-444444444444" for n in range(8)]
    driver.write(*(f"gpu {uuid} H100 {80 * GIB} {GIB} 0" for uuid in uuids))
    with Sampling(tmp_path, driver, interval_s=0.01) as sampling:
        sampling.wait("watching")
        time.sleep(1.5)
        done = sampling.stop()
    of_each = {uuid: sum(s.uuid == uuid for s in sampling.of(Sample)) for uuid in uuids}
    assert set(of_each.values()) == {done["ticks"] + 1}  # and the last reading
    assert done["ticks"] + done["missed"] == pytest.approx(150, rel=0.3)


def test_the_cost_is_accounted_and_small(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.001) as sampling:
        sampling.wait("watching")
        time.sleep(2)
        sampling.stop()
    end = sampling.of(End)[0]
    assert 0.001 < end.cpu_s / 2 < 0.3  # a guard against a busy-wait; `make perf-sampler` measures
