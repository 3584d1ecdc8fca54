"""The tables in docs/ are those of the figures that are kept."""

import json
from pathlib import Path

import msgspec

from benchmarks.engines import table as engines_table
from benchmarks.sampler import table as sampler_table

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "reference" / "benchmarks"


def kept(name):
    return json.loads((KEPT / f"{name}.json").read_text())


def test_what_the_sampler_costs():
    names = ("h100", "vllm-h100", "vllm-peers-h100", "double")
    tables = [sampler_table.render(kept(f"sampler-{name}")) for name in names]
    assert "\n".join(tables) in (ROOT / "docs" / "sampler.md").read_text()


def test_what_recording_costs_and_whether_our_speed_is_the_engines():
    found = kept("engines-cpu")
    parts = msgspec.convert(found["parts"], list[engines_table.Figures])
    page = (ROOT / "docs" / "performance.md").read_text()
    assert engines_table.render(found, parts) in page
    (recording,) = msgspec.convert(kept("recording-h100")["parts"], list[engines_table.Figures])
    change = recording.change()
    assert f"{change.ratio:.4f} | {change.low:.4f} to {change.high:.4f}" in page
