"""The terminal: how long it may be, and what must not be missing from it."""

import io
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from compare.headline import headline
from compare.summary import columns
from measure import canonical
from measure.build import build
from measure.result import Result
from report import brief, table
from report import rows as comparison
from tests.measure import simulate
from tests.measure.folder import Folder, meta

REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
ROWS, SENTENCES = 22, 6


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    """hf-batched, hf-sequential, hf-static and vllm, 16 requests each."""
    folder = simulate.run_folder(Folder(tmp_path_factory.mktemp("run")), gpu=True)
    made = build(folder.path, meta(device="cuda", suite={"name": "test", "max_length": 512}))
    return msgspec.structs.replace(
        made, workload=msgspec.structs.replace(made.workload, requests=16)
    )


def with_cells(result: Result, labels: tuple[str, ...], **fields: object) -> Result:
    """The result with these fields of some backends replaced."""
    cells = [
        msgspec.structs.replace(cell, **fields) if cell.label in labels else cell
        for cell in result.cells
    ]
    return msgspec.structs.replace(result, cells=cells)


def printed(result: Result) -> list[str]:
    out = io.StringIO()
    table.show(result, Console(file=out, width=80, color_system=None))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def said(result: Result) -> list[str]:
    return brief.sentences(result, columns(result), headline(result))


def tables(lines: list[str]) -> list[int]:
    """The lines of each table, below its rule."""
    starts = [place for place, line in enumerate(lines) if line.startswith(" ──")]
    ends = [
        next(i for i in range(start, len(lines)) if lines[i].startswith(" memory efficiency"))
        for start in starts
    ]
    return [end - start for start, end in zip(starts, ends, strict=True)]


def doubtful(result: Result) -> Result:
    """Two doubts about every backend: eight in all."""
    every = tuple(cell.label for cell in result.cells)
    return with_cells(result, every, suspect=["clocks held back", "unsteady decode"])


def failed(result: Result) -> Result:
    """Everything but vllm ran out of memory."""
    others = tuple(cell.label for cell in result.cells if cell.label != "vllm")
    return with_cells(result, others, status="oom", reason="no memory left")


def cut(result: Result) -> Result:
    """The budget stopped two after a part, and another gave requests up."""
    few = with_cells(result, ("hf-sequential",), requests_run=1, output_tokens=40)
    few = with_cells(few, ("hf-static",), requests_run=3, output_tokens=90)
    return msgspec.structs.replace(few, complete=False)


@pytest.mark.parametrize("name", sorted(p.parent.name for p in REFERENCE.glob("*/result.json")))
def test_the_references_fit(name):
    found = canonical.loads(REFERENCE / name / "result.json")
    lines = printed(found)
    assert max(map(len, lines)) <= 80
    assert len(tables(lines)) == -(-len(columns(found)) // 4)
    assert max(tables(lines)) <= ROWS
    assert len(said(found)) <= SENTENCES


@pytest.mark.parametrize("change", [lambda r: r, doubtful, failed, cut, lambda r: doubtful(cut(r))])
def test_four_backends_fit_whatever_happened(result, change):
    lines = printed(change(result))
    assert max(map(len, lines)) <= 80
    (rows,) = tables(lines)
    assert rows <= ROWS
    assert 3 <= len(said(change(result))) <= SENTENCES


def test_more_doubts_than_fit_are_counted(result):
    """Three facts leave room for three sentences; five of eight doubts are on the page."""
    told = said(doubtful(result))
    assert len(told) == SENTENCES
    assert told[3] == "hf-batched*: doubtful: clocks held back"
    assert told[-1].endswith("; and 5 more doubts: see the page")
    (heads,) = (
        line for line in printed(doubtful(result)) if line.strip().startswith("hf-batched* ")
    )
    assert heads.split() == ["hf-batched*", "hf-sequential*", "hf-static*", "vllm*"]


def test_a_long_name_is_broken_where_it_may_be(result):
    """`vllm-reserve-max` beside three others in 80 columns."""
    lines = printed(with_cells(result, ("hf-static",), label="vllm-reserve-max"))
    assert max(map(len, lines)) <= 80
    place = next(i for i, line in enumerate(lines) if "reserve-max" in line.split())
    assert lines[place - 1].split() == ["vllm-"]


def test_a_failure_is_told_before_the_headline(result):
    told = said(failed(result))
    assert told[:3] == [
        f"{name}: oom: no memory left" for name in ("hf-batched", "hf-sequential", "hf-static")
    ]
    assert "vllm" in told[3]


def test_what_is_the_same_for_all_is_one_line(result):
    """All four ran the 16 requests and their 642 tokens."""
    lines = printed(result)
    text = " ".join(lines)
    place = next(i for i, line in enumerate(lines) if line.startswith(" The same for all: "))
    assert "status ok" in lines[place]
    assert "requests 16, output tokens 642." in text
    titles = {line[:28].strip() for line in lines[:place]}
    assert not titles & {"status", "requests", "output tokens"}


def test_times_of_unequal_loads_do_not_stand_beside_each_other(result):
    """hf-sequential ran 1 of 16 and hf-static 3: their total times are not shown, nor a factor."""
    lines = printed(cut(result))
    cells = {line[:28].strip(): line[28:].split() for line in lines}
    for title in ("total time", "time to first token, mean"):
        batched, _, *one_by_one, paged, _ = cells[title]
        assert one_by_one == ["-", "-"]
        assert "-" not in (batched, paged)
    assert cells["speed-up over hf-sequential"] == ["-", "1x", "-", "-"]
    text = " ".join(said(cut(result)))
    assert text.count("Not everybody ran all 16 requests") == 1
    assert "hf-batched 16, hf-sequential 1, hf-static 3, vllm 16" in text
    assert "times as much" not in text


def test_the_rates_of_a_batch_that_was_cut_are_not_given(result):
    """vllm works on all at once: what it did of 2 of 16 requests says nothing of its rate."""
    timed = result.cells[-1].timing
    assert timed
    timing = msgspec.structs.replace(timed, joules_per_token=0.5)
    result = with_cells(result, ("vllm",), timing=timing)
    part = with_cells(result, ("vllm",), requests_run=2, output_tokens=80, truncated="45 s")
    values = columns(part)[-1].values
    for name in ("output_tokens_per_s", "speed_up", "joules_per_token"):
        assert columns(result)[-1].values[name] is not None
        assert values[name] is None
    assert values["kv_efficiency"] is not None
    assert "vllm takes all at once" in " ".join(said(part))
    assert not any("generated" in fact.text for fact in headline(part))


def test_latencies_say_of_how_many_requests_they_are(result):
    """The first token of one of 16 requests was lost with its preemption."""
    rows = list(result.cells[-1].rows)
    rows[0] = msgspec.structs.replace(rows[0], first=None)
    lost = columns(with_cells(result, ("vllm",), rows=rows))
    found = {row.name: row.cells for row in comparison.rows(lost)}
    assert found["ttft_mean"][-1].endswith(" (15 of 16)")
    assert found["tpot_mean"][-1].endswith(" (15 of 16)")
    assert not any("of 16" in cell for cell in found["ttft_mean"][:-1])
