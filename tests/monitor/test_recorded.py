"""Traces recorded on real GPUs: what the double teaches us must hold of them.

They are those of the reference results, and a short one made by `python -m benchmarks.sampler
--trace`: a second of a decode-like loop, then five spikes of 1 GiB and 5 ms, watched every 2 ms.
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from measure.sampled import sampled
from measure.watched import ABOUT, summarize
from report.watched_svg import draw
from traces.reader import Damage, read
from traces.records import Device, End, Energy, Gap, Header, Mark, Procs, Sample

GIB = 1 << 30
ROOT = Path(__file__).parents[2]
SPIKES = ROOT / "tests" / "data" / "h100-spikes.jsonl"
FILES = [SPIKES, *sorted((ROOT / "results" / "reference").glob("*-h100/samples.jsonl.gz"))]


@pytest.fixture(params=FILES, ids=lambda path: f"{path.parent.name}-{path.name.partition('.')[0]}")
def records(request):
    damage = Damage()
    found = list(read(request.param, damage))
    assert (damage.bad, damage.torn) == (0, False)
    return found


def of(records, kind):
    return [record for record in records if isinstance(record, kind)]


def test_it_is_whole_and_in_order(records):
    assert isinstance(records[0], Header)
    assert isinstance(records[-1], End)
    assert all(a.t <= b.t for a, b in pairwise(records))


def test_memory_adds_up_and_comes_back(records):
    (device,) = of(records, Device)
    samples = of(records, Sample)
    for sample in samples:
        parts = sample.used + sample.free + sample.reserved
        assert parts == pytest.approx(device.memory_total, abs=1 << 20)
    marks = of(records, Mark)
    before = max(s.used for s in samples if s.t < marks[0].t)
    assert max(s.used for s in samples) > before + 0.9 * GIB
    assert samples[-1].used <= before  # the last worker has ended, and left nothing


def test_ticks_and_gaps_account_for_the_whole_time(records):
    end, samples = of(records, End)[0], of(records, Sample)
    assert end.missed == sum(gap.missed for gap in of(records, Gap))
    assert end.ticks == pytest.approx(len(samples), abs=2)


def test_energy_grows_and_the_program_is_ours(records):
    energy = [e.total_mj for e in of(records, Energy) if e.total_mj is not None]
    assert energy == sorted(energy)
    assert any(procs.ours and procs.ours > GIB // 2 for procs in of(records, Procs))


def test_it_makes_a_summary_and_a_picture(records):
    seen = sampled(iter(records))
    found = summarize(seen)
    assert (found.devices[0].used_peak or 0) > GIB
    assert "Device memory used" in draw(seen)


def test_each_short_spike_is_seen_and_it_replays(tmp_path):
    records = list(read(SPIKES))
    begin, end = [mark.t for mark in of(records, Mark)][2:]
    used = [s.used for s in of(records, Sample) if begin <= s.t <= end]
    high = [value - used[0] > 0.9 * GIB for value in used]
    assert sum(now and not before for before, now in pairwise(high)) == 5

    (tmp_path / "samples.jsonl").write_bytes(SPIKES.read_bytes())
    (tmp_path / ABOUT).write_text("{}")
    command = [sys.executable, "-m", "orchestrator", "report", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "NVIDIA H100" in done.stdout
    assert "<svg" in (tmp_path / "timeline.svg").read_text()
