"""Traces recorded on real GPUs: what the double teaches us must hold of them.

They are those of the reference results.
"""

from itertools import pairwise
from pathlib import Path

import pytest

from report.sampled import sampled
from report.watched import summary
from report.watched_svg import draw
from traces.reader import Damage, read
from traces.records import Device, End, Energy, Gap, Header, Mark, Procs, Sample

GIB = 1 << 30
REFERENCE = Path(__file__).parents[2] / "results" / "reference"
FILES = sorted(REFERENCE.glob("*-h100/samples.jsonl"))


@pytest.fixture(params=FILES, ids=lambda path: path.parent.name)
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
    found = summary(seen, {"command": [], "no_devices": ""})
    assert found["devices"][0]["used_peak"] > GIB
    assert "Device memory used" in draw(seen)
