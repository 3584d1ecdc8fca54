"""What was offered, what a deadline left of it, and what may then be compared."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.synthetic import Shop, timed, with_cells
from compare import night, rates
from compare.diff import results
from compare.headline import headline
from compare.night import Before
from compare.summary import columns
from compare.trend.collect import Collector
from measure.result import Result, Work
from report import loads, words
from report.export import flat, summaries
from report.rows import rows
from traces.errors import INCOMPARABLE, OK, REGRESSION

OFFERED = Work(sha256="cd" * 32, requests=4, deadline_s=45.0)


def offered(result: Result, **fields: Any) -> Result:
    return with_cells(result, work=replace(OFFERED, **fields))


def full(result: Result, **factors: float) -> Result:
    """Every cell has a full-load rate: its run rate by this factor, 1 where none is given."""
    cells = []
    for cell in result.cells:
        assert cell.timing
        speed = (cell.timing.output_tokens_per_s or 0) * factors.get(cell.label, 1)
        timing = replace(cell.timing, full_load_tokens_per_s=speed, full_load_itl_p50=1 / speed)
        cells.append(replace(cell, timing=timing))
    return replace(result, cells=cells)


def ended(result: Result, label: str, requests: int = 3, tokens: int = 200) -> Result:
    """A deadline ended one backend."""
    cells = [
        replace(cell, ended="deadline", requests_run=requests, output_tokens=tokens)
        if cell.label == label
        else cell
        for cell in result.cells
    ]
    return replace(result, cells=cells)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"deadline_s": 60.0}, "deadline_s 45.0 -> 60.0"),
        ({"load": "8 in flight"}, "load closed -> 8 in flight"),
        ({"sha256": "ef" * 32}, "sha256"),
        ({"requests": 5}, "requests 4 -> 5"),
    ],
)
def test_other_work_is_incomparable_before_any_number(fields, said):
    base = offered(Shop(seed=1).result())
    head = offered(Shop(seed=2, slower={"vllm": 2}).result(), **fields)
    found = results.diff(base, head)
    assert found.exit_code == INCOMPARABLE
    assert all(cell.state == "incomparable" and not cell.rows for cell in found.cells)
    assert said in found.cells[0].notes[0]
    tonight = night.judge(head, [Before(result=offered(Shop(seed=s).result())) for s in range(8)])
    assert tonight.verdict == "incomparable"
    assert {finding.metric for finding in tonight.findings} == {"work"}


def test_a_deadline_leaves_rates_and_shares_to_compare():
    """200 tokens by the deadline, then 150: no other work, but a rate that is a quarter lower."""
    base = ended(full(offered(Shop(seed=1).result())), "vllm")
    slow = Shop(seed=2, slower={"vllm": 1.33}).result()
    head = ended(full(offered(slow)), "vllm", requests=2, tokens=150)
    found = results.diff(base, head)
    assert found.exit_code == REGRESSION
    (vllm,) = (cell for cell in found.cells if cell.label == "vllm")
    judged = {row.metric for row in vllm.rows}
    assert {"output_tokens_per_s", "full_load_tokens_per_s", "full_load_itl_p50"} < judged
    assert {"kv_efficiency", "kv_bytes_per_slot"} < judged
    whole = {"wall", "ttft_mean", "tpot_mean", "kv_peak_reserved", "kv_step_efficiency"}
    assert not judged & {*whole, "peak_running", "host_peak"}
    assert any(note.startswith("ended by the deadline") for note in vllm.notes)
    assert not any("not measured" in note for note in vllm.notes)
    (other,) = (cell for cell in found.cells if cell.label == "hf-static")
    assert whole < {row.metric for row in other.rows}


def test_a_deadline_that_ended_one_side_alone_is_the_same_work():
    base, head = (full(offered(Shop(seed=s).result())) for s in (1, 2))
    found = results.diff(ended(base, "vllm"), head)
    assert found.exit_code == OK


def test_a_budget_that_left_requests_out_is_other_work_than_a_deadline():
    old = with_cells(Shop(seed=1).result(), truncated="45 s", requests_run=1, output_tokens=64)
    found = results.diff(old, ended(Shop(seed=2).result(), "vllm"))
    (vllm,) = (cell for cell in found.cells if cell.label == "vllm")
    assert vllm.state == "incomparable"


def test_nights_that_a_deadline_ended_teach_rates_and_are_one_series():
    """Each night other tokens had come by the deadline."""
    results_ = [
        ended(full(offered(Shop(seed=s, begun=f"2026-01-{s + 1:02}").result())), "vllm", 3, 190 + s)
        for s in range(9)
    ]
    tonight = night.judge(results_[-1], [Before(result=result) for result in results_[:-1]])
    assert tonight.verdict == "normal"
    of_vllm = {finding.metric for finding in tonight.findings if finding.cell == "vllm"}
    assert {"output_tokens_per_s", "full_load_tokens_per_s", "kv_efficiency"} < of_vllm
    assert not of_vllm & {"ttft_mean", "tpot_mean", "kv_peak_reserved", "host_peak"}
    collector = Collector()
    for result in results_:
        collector.add(result, "")
    (group,) = collector.trend().groups
    assert {series.cell for series in group.series} == {"hf-sequential", "hf-static", "vllm"}
    assert all(len(series.runs) == 9 for series in group.series)
    assert not [s for s in group.series if s.cell == "vllm" and s.metric == "ttft_mean"]
    given = {found.metric.name for found in summaries.summaries(results_[0])
             if found.cell.label == "vllm"}  # fmt: skip
    assert "full_load_tokens_per_s" in given
    assert "wall" not in given
    row = next(iter(flat.rows(results_[0])))
    assert row["full_load_tokens_per_s"]


def layouts(result: Result) -> Result:
    """vllm is paged."""
    kinds = {"vllm": "paged", "hf-static": "static", "hf-sequential": "dynamic"}
    cells = [replace(c, kv=replace(c.kv, layout=kinds[c.label])) for c in result.cells if c.kv]
    return replace(result, cells=cells)


def rate_fact(result: Result) -> Any:
    return next((f for f in headline(result) if f.name.endswith("tokens_per_s")), None)


def test_engines_are_set_beside_each_other_at_full_load():
    """vllm 250 tok/s and twice that at full load, hf-sequential 23: 500 / 23 is 22 times."""
    result = layouts(full(offered(Shop(noise=0.0001, repeats=1).result()), vllm=2))
    fact = rate_fact(result)
    assert fact.name == "full_load_tokens_per_s"
    assert fact.ratio == pytest.approx(500 / 23, rel=0.01)
    assert "at full load" in fact.text
    found = columns(result)
    assert found[-1].values["speed_up"] == pytest.approx(500 / 23, rel=0.01)
    assert loads.rated(found) == "Speed-ups are of the rates at full load."
    titles = [row.name for row in rows(found)]
    assert titles.index("full_load_tokens_per_s") == titles.index("output_tokens_per_s") + 1


def test_without_a_full_load_rate_the_run_rate_says_why():
    result = layouts(full(offered(Shop(noise=0.0001, repeats=1).result()), vllm=2))
    why = "full load lasted 1.95 s and 91 steps, needs 5 s and 50"
    for cell in result.cells:
        if cell.label == "vllm":
            assert cell.timing
            cell.timing.full_load_tokens_per_s = None
            cell.timing.why = {"full_load_tokens_per_s": why}
    fact = rate_fact(result)
    assert fact.name == "output_tokens_per_s"
    assert fact.ratio == pytest.approx(250 / 23, rel=0.01)
    assert f"of the whole runs, since vllm's {why}" in fact.text
    assert loads.rated(columns(result)) == f"Speed-ups are of whole runs, since vllm's {why}."


def test_run_rates_of_a_run_that_a_deadline_ended_are_of_other_requests():
    """At full load the factor stands; of whole runs there is none, nor a sentence."""
    result = layouts(full(offered(Shop(noise=0.0001, repeats=1).result())))
    assert rate_fact(ended(result, "hf-sequential", 1, 40)).name == "full_load_tokens_per_s"
    bare = ended(result, "hf-sequential", 1, 40)
    for cell in bare.cells:
        assert cell.timing
        cell.timing.full_load_tokens_per_s = None
    assert rate_fact(bare) is None
    assert columns(bare)[-1].values["speed_up"] is None


def test_policies_of_one_engine_are_set_beside_each_other_by_their_runs():
    one = layouts(full(offered(Shop(noise=0.0001, repeats=1).result()))).cells[-1]
    assert one.timing
    other = replace(one, timing=replace(one.timing, output_tokens_per_s=125.0))
    assert rates.between([one], [other], same_engine=True) == "output_tokens_per_s"
    assert rates.between([one], [other], same_engine=False) == "full_load_tokens_per_s"
    late = replace(other, ended="deadline")
    assert rates.between([one], [late], same_engine=True) == "full_load_tokens_per_s"


def test_the_table_marks_whom_a_deadline_ended_and_leaves_its_latencies_out():
    result = ended(full(offered(Shop(repeats=1).result())), "hf-static", 3, 200)
    result = replace(result, suite={**result.suite, "budget": "45s"})
    found = columns(result)
    shown = {row.name: row.cells for row in rows(found)}
    assert shown["requests_run"] == ["4", "3 of 4", "4"]
    for name in ("ttft_mean", "tpot_mean", "wall"):
        assert (shown[name][1], "-" in (shown[name][0], shown[name][2])) == ("-", False)
    assert "-" not in shown["output_tokens_per_s"]
    assert "-" not in shown["full_load_tokens_per_s"]
    (said,) = loads.unequal(result, found)
    assert "the deadline of 45s ended hf-static (3 of 4 requests)" in said
    assert not any("ran fewer" in note for column in found for note in words.notes(column))
    alone = replace(result, cells=[cell for cell in result.cells if cell.label == "hf-static"])
    assert "tpot_mean" in {row.name for row in rows(columns(alone))}


def test_latencies_change_with_the_load_in_diff_only_where_it_is_the_same(pagedbench, stored):
    base = stored("base", offered(Shop(seed=1).result()))
    head = stored("head", timed(offered(Shop(seed=2).result(), deadline_s=60.0), ttft_mean=3.0))
    done = pagedbench("diff", base, head, "--format", "json")
    assert done.code == INCOMPARABLE
    assert all(not cell["rows"] for cell in json.loads(done.out)["cells"])
