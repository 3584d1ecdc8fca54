"""The first section of the page, of a real run with one vLLM under two policies."""

import shutil
from pathlib import Path

import pytest

from compare.headline import same_engine
from measure.build import Run, build
from report import pages, view
from tests.report.browser import open_page

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "bench-cpu"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shutil.copytree(REFERENCE, tmp_path_factory.mktemp("bench") / "run")


@pytest.fixture(scope="module")
def run(folder):
    return Run(folder)


def test_a_point_with_its_cells_name_is_its_own_window(run):
    """The engine ran reserve-max for 24.5 s, then paged for 8.1 s: four requests each."""
    windows = {label: run.window(label, 0) for label in ("vllm", "vllm-reserve-max")}
    seconds = {}
    for label, found in windows.items():
        begin, end = found.window("run")
        seconds[label] = round((end - begin) / 1e9, 1)
        assert len(found.requests) == 4, label
    assert seconds == {"vllm": 8.1, "vllm-reserve-max": 24.5}


def test_what_paging_changes_is_apart_from_what_the_engine_changes(folder, run):
    result = build(folder, run=run)
    assert same_engine(result) == ("vllm", "vllm-reserve-max")
    shown = view.result_view(result, "")
    assert all("besides paging, nothing differs" in fact.text for fact in shown.paging)
    assert all("engine, kernels and batching differ" in fact.text for fact in shown.facts)
    assert len(shown.paging) == 4
    assert len(shown.facts) == 1
    assert "blocks of 32 tokens, at most 256 requests at once" in shown.equal


def test_both_policies_are_drawn_on_the_same_axes(folder, run, chromium):
    opened = open_page(chromium, pages.write(folder, build(folder, run=run), run)[1])
    drawn = opened.page.evaluate(
        "document.getElementById('policies').data.map((t) => ["
        "t.name, Math.max(...t.x), Math.max(...t.y)])"
    )
    ranges = opened.page.evaluate(
        "(({xaxis, xaxis2, yaxis, yaxis2}) => [xaxis.range[1] === xaxis2.range[1],"
        " yaxis.range[1] === yaxis2.range[1]])(document.getElementById('policies')._fullLayout)"
    )
    assert [name for name, *_ in drawn] == ["held", "stored", "held", "stored"]
    held_max, _, held_paged, _ = drawn
    assert held_max[1:] == pytest.approx([24.5, 90], rel=0.01)  # one reservation of 2048 slots
    assert held_paged[1:] == pytest.approx([8.06, 22.5], rel=0.01)  # 16 blocks of 32 slots
    assert ranges == [True, True]
    assert opened.page.locator("#policies-blocks .panel").count() == 2
    assert opened.errors == []
