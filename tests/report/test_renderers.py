"""The terminal table, report.md, the trace for Perfetto and the figures: what they must say."""

import gzip
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from compare import summary
from compare.stats import Summary
from measure.build import Run, build
from measure.result import Check, Parity, Result, Share
from report import figures, html, markdown, perfetto, table, view, words
from report.changes import changes
from tests.measure import simulate
from tests.measure.folder import Folder, meta
from traces import units

NASTY = "</script><script>alert(1)</script> [red]x[/red] `a|b` *c*"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = simulate.run_folder(Folder(tmp_path_factory.mktemp("run")), gpu=True)
    failed = made.path / "cells" / "hf-paged.r0"
    failed.mkdir()
    made.about(failed, "hf-paged", status="oom", reason=NASTY, log_tail=["first", "the last line"])
    return made.path


@pytest.fixture(scope="module")
def result(folder) -> Result:
    return build(folder, meta(device="cuda"))


def printed(result: Result, width: int = 120) -> str:
    out = io.StringIO()
    table.show(result, Console(file=out, width=width, color_system=None))
    return out.getvalue()


def row(text: str, title: str) -> list[str]:
    return next(line for line in text.splitlines() if title in line).split()


def test_the_table_has_the_numbers_of_the_result(result):
    text = printed(result)
    labels = ["hf-sequential", "hf-static", "hf-batched", "hf-paged", "vllm"]
    assert row(text, "hf-sequential ") == labels
    efficiency = {cell.label: cell.kv and cell.kv.efficiency for cell in result.cells}
    shown = row(text, "memory efficiency")[2:]
    assert shown == [units.share(efficiency[label]) for label in labels]
    assert row(text, "output tokens")[2:] == ["642", "642", "642", "-", "642"]


def test_a_failed_backend_is_a_row_with_its_last_lines(result):
    text = printed(result)
    assert "oom (0/1 ok)" in text
    assert "the last line" in text
    assert NASTY in text.replace("\n ", " ")  # rich markup in it stays text


def test_a_narrow_terminal_gets_several_tables(result):
    text = printed(result, width=60)
    assert text.count("memory efficiency") == 3
    assert max(map(len, text.splitlines())) <= 60


def test_the_sentences_say_that_the_pool_is_a_setting(result):
    said = " ".join(words.sentences(result, summary.columns(result)))
    assert "setting" in said
    assert "same prompt token ids" in said
    assert "same weights" in said
    different = msgspec.structs.replace(
        result, model=msgspec.structs.replace(result.model, same_weights=False)
    )
    assert "same weights" not in words.sentences(different, summary.columns(different))[0]


def test_of_a_run_in_which_nobody_ran_nothing_is_said_of_all(result):
    failed = msgspec.structs.replace(
        result, cells=[msgspec.structs.replace(cell, status="failed") for cell in result.cells]
    )
    assert "each ran greedily" in " ".join(words.sentences(result, summary.columns(result)))
    assert "each ran greedily" not in " ".join(words.sentences(failed, summary.columns(failed)))


def test_what_each_backend_used_is_a_sentence_with_its_interval(result):
    found = summary.columns(result)[0]
    speed = Summary(n=3, mean=100.0, low=90.0, high=111.1)
    said = words.used(found, "device", speed)
    assert said.startswith(f"used at most {units.size(found.values['run_peak'])} of GPU memory")
    assert "100 tok/s (95 % interval 90 to 111.1)" in said
    assert "interval" not in words.used(found, "host", Summary(n=1, mean=100.0))
    failed = msgspec.structs.replace(found, ok=0, status="oom")
    assert words.used(failed, "device", None) == "did not run to its end (oom)."


def test_unequal_amounts_of_work_are_said(result):
    found = [c for c in summary.columns(result) if c.ok]
    (ran,) = {c.first.requests_run for c in found}
    all_of_it = msgspec.structs.replace(result.workload, requests=ran)
    result = msgspec.structs.replace(result, workload=all_of_it)
    assert not any("Not everybody" in said for said in words.sentences(result, found))
    less = {**found[0].ranges, "requests_run": (1.0, 1.0)}
    values = {**found[0].values, "requests_run": 1.0}
    cut = [msgspec.structs.replace(found[0], ranges=less, values=values), *found[1:]]
    (said,) = (said for said in words.sentences(result, cut) if "Not everybody" in said)
    assert f"{found[0].label} 1, " in said


def test_external_waste_is_told_of_those_whose_allocator_was_watched(result):
    shares = [Share(value=0.434, how="measured"), Share(value=0.0, how="derived")]
    shares.append(Share(value=None, how="n/a"))
    found = [
        msgspec.structs.replace(summary.columns(result)[0], label=label, waste={"external": share})
        for label, share in zip(("grown", "blocks", "unknown"), shares, strict=True)
    ]
    assert words.external(found) == "grown 43.4%"
    assert words.external(found[1:]) == ""


def test_a_second_repeat_that_fails_shows_and_counts_for_nothing(result):
    """vllm twice: as it was, and at ten times the speed with tokens of its own and a check failed.

    Its throughput and speed-up stay those of the first alone.
    """
    vllm = next(cell for cell in result.cells if cell.label == "vllm")
    bad = Parity(verdict="fail", method="exact", reference="hf-sequential", identical=1, compared=4,
                 note="3 of 4 differ")  # fmt: skip
    check = Check(name="output tokens", verdict="fail", ours=640.0, theirs=642.0)
    fast = msgspec.structs.replace(
        vllm.timing, output_tokens_per_s=vllm.timing.output_tokens_per_s * 10
    )
    second = msgspec.structs.replace(vllm, repeat=1, parity=bad, validity=[check], timing=fast)
    good = msgspec.structs.replace(bad, verdict="pass", identical=4, note="")
    cells = [*result.cells[:-1], msgspec.structs.replace(vllm, parity=good), second]
    both = msgspec.structs.replace(result, cells=cells)
    one, two = summary.columns(result)[-1], summary.columns(both)[-1]
    assert two.values == one.values
    assert (two.parity, two.left_out) == (bad, 1)
    said = words.notes(two)
    assert "vllm*: not the model's tokens: 3 of 4 differ" in said
    assert "vllm*: left out of its numbers: 1 of 2 repeats" in said
    assert "vllm*: check failed: output tokens: 640 against 642" in said
    assert row(printed(both), "same tokens")[-1] == "fail"
    shown = dict(view.result_view(both, "").checks)
    assert [seen and seen.verdict for seen in shown["output tokens"]][-1] == "fail"


def test_counts_that_differ_between_repeats_are_a_range(result):
    """Four requests in one repeat and three in the other are 3-4, not 3.46 or 3.5."""
    vllm = result.cells[-1]
    repeats = [msgspec.structs.replace(vllm, repeat=n, requests_run=4 - n) for n in range(2)]
    both = msgspec.structs.replace(result, cells=[*result.cells[:-1], *repeats])
    title = next(line for line in printed(both).splitlines() if line.startswith(" requests   "))
    assert title.split()[-1] == "3-4"
    assert "vllm 3-4" in " ".join(words.sentences(both, summary.columns(both)))
    changed = {found.title: found.cells for found in changes(result, both).rows}
    assert changed["requests"][-1].change == ""


def test_one_repeat_has_no_interval_and_says_so(result):
    found = summary.columns(result)
    assert "--repeats 5" in words.once([msgspec.structs.replace(c, repeats=1) for c in found])
    assert words.once([msgspec.structs.replace(c, ok=1, repeats=5) for c in found]) == ""
    assert words.once([]) == ""


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "note", "said"),
    [
        ("ledger: sum", 2.0**30, 2.0**30 + 2**20, "", "1,024.0 MiB / 1,025.0 MiB"),
        ("KV usage at its peak", 0.0386458, 0.04, "", "3.865% / 4%"),
        ("output tokens", 413.0, 413.0, "", "413 / 413"),
        ("throughput", 13.171, None, "the engine does not time itself", ""),
        ("throughput", 13.171, None, "", "13.171 / -"),
    ],
)
def test_both_numbers_of_a_check_are_in_its_unit(result, name, ours, theirs, note, said):
    check = Check(name=name, verdict="pass", ours=ours, theirs=theirs, note=note)
    cells = [msgspec.structs.replace(cell, validity=[check]) for cell in result.cells]
    shown = view.result_view(msgspec.structs.replace(result, cells=cells), "").checks
    row = next(cells for title, cells in shown if title == name)
    assert row[0] == view.CheckView(verdict="pass", said=said, note=note)


def test_divergence_is_shown(result):
    parity = Parity(
        verdict="pass", method="regret", reference="hf-sequential", identical=3, compared=4,
        first_divergence={"request": "r1", "position": 17, "token": 5, "logprob": -1.25},
        max_regret=0.12, mean_regret=0.001,
    )  # fmt: skip
    cells = [msgspec.structs.replace(cell, parity=parity) for cell in result.cells]
    text = " ".join(words.notes(summary.columns(msgspec.structs.replace(result, cells=cells))[-1]))
    said = "first differs from hf-sequential at request r1, token 17: id 5 (log-probability -1.250)"
    assert said in text


def test_a_doubt_stands_beside_the_number_on_the_page_and_in_markdown(result):
    cells = [
        msgspec.structs.replace(cell, suspect=["clocks held back"] if cell.label == "vllm" else [])
        for cell in result.cells
    ]
    doubtful = msgspec.structs.replace(result, cells=cells)
    shown = view.result_view(doubtful, "")
    assert [column.heading for column in shown.columns][-1] == "vllm*"
    assert all("vllm*: doubtful: clocks held back." in fact.caveat for fact in shown.facts)
    assert all(fact.text.startswith("vllm* ") for fact in shown.facts)
    head = next(line for line in markdown.render(doubtful).splitlines() if line.startswith("| "))
    assert "vllm\\*" in head
    assert not any("*" in column.heading for column in view.result_view(result, "").columns[:-1])


def test_markdown_shows_outside_text_as_text(result):
    text = markdown.render(result)
    assert "<script>" not in text
    assert markdown.text(NASTY) in text
    assert "    the last line" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in tables[:3]}
    assert len(widths) == 1


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (units.size, 0, "0 B"),
        (units.size, 1023, "1.00 KiB"),
        (units.size, 999, "999 B"),
        (units.size, 45 * 2**20, "45.0 MiB"),
        (units.size, -5 * 2**30, "-5.00 GiB"),
        (units.size, None, "-"),
        (units.seconds, 0.0042, "4.2 ms"),
        (units.seconds, 12.345, "12.3 s"),
        (units.share, 0.9634, "96.3%"),
        (units.count, 2048.0, "2,048"),
        (units.count, 1.5, "1.5"),
        (units.rate, 9876.5, "9,876 tok/s"),
    ],
)
def test_numbers_are_written_for_people(write, value, text):
    assert write(value) == text


def faster(result: Result, factor: float) -> Result:
    """The same result with another throughput, and without its last backend."""
    cells = [
        msgspec.structs.replace(
            cell,
            timing=msgspec.structs.replace(
                cell.timing, output_tokens_per_s=(cell.timing.output_tokens_per_s or 0) * factor
            ),
        )
        if cell.timing
        else cell
        for cell in result.cells
    ]
    last = cells[-1].label
    return msgspec.structs.replace(result, cells=[cell for cell in cells if cell.label != last])


@pytest.mark.parametrize(("factor", "change"), [(1.1, "+10.0%"), (0.9, "-10.0%"), (4.0, "4x")])
def test_what_changed_between_two_runs_is_a_table(result, factor, change):
    found = changes(result, faster(result, factor))
    assert found.only == [result.cells[-1].label]
    rows = {row.title: row.cells for row in found.rows}
    throughput = rows["run rate"][found.labels.index("hf-sequential")]
    assert "\u2192" in throughput.said
    assert throughput.change == change
    assert {cell.change for cell in rows["memory efficiency"]} == {""}


def test_nothing_changed_between_a_run_and_itself(result):
    cells = [cell for row in changes(result, result).rows for cell in row.cells]
    assert {cell.change for cell in cells} == {""}


def test_the_plot_library_is_changed_only_where_it_is_as_we_know_it():
    known = "(function(r, f) { f(); }(typeof self ? self : this, () => {\nreturn 1;\n}));\n"
    changed = "(function(r, f) { f(); }(typeof self ? self : this, (() => {\nreturn 1;\n})));\n"
    assert html._called_at_once(known) == changed
    for other in ("var a = () => {};", known + "more();", known.replace("() =>", "x =>")):
        assert html._called_at_once(other) == other


def test_the_command_says_what_the_suite_alone_does_not(result):
    command = view.result_view(result, "").command
    assert command.startswith("pagedbench run --suite test --model tiny --dtype float32")
    assert command.endswith("--backend hf-batched --backend hf-paged --backend vllm")
    recorded = msgspec.structs.replace(result, volatile={"command": ["pagedbench", "run", "a b"]})
    assert view.result_view(recorded, "").command == "pagedbench run 'a b'"


def test_perfetto_trace_is_whole_and_in_microseconds(folder):
    with gzip.open(perfetto.write(folder, Run(folder)), "rt") as stream:
        events = json.load(stream)["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {f"{name}.r0" for name in ("hf-sequential", "hf-static", "hf-batched", "vllm")}
    run = next(e for e in events if e["name"] == "run" and e["ph"] == "X")
    assert run["ts"] == simulate.BEGIN * 1e3
    begun = [e for e in events if e["ph"] == "b"]
    ended = [e for e in events if e["ph"] == "e"]
    assert len(begun) == len(ended) > 0
    assert any(e["ph"] == "C" and "live_tokens" in e["args"] for e in events)


def test_figures_are_svg_and_the_same_every_time(folder, result, tmp_path):
    pytest.importorskip("matplotlib")
    first = figures.write(result, folder, tmp_path / "a")
    second = figures.write(result, folder, tmp_path / "b")
    assert [path.name for path in first] == ["waste.svg", "memory.svg"]
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert ElementTree.parse(one).getroot().tag.endswith("svg")


def test_what_reserves_at_admission_is_not_called_paged(result):
    replace = msgspec.structs.replace
    options = {"policy": "reserve-max"}
    reserving = replace(result, cells=[replace(c, options=options) for c in result.cells])
    kinds = [
        next(words.kind(column) for column in summary.columns(run) if column.label == "vllm")
        for run in (result, reserving)
    ]
    assert kinds == ["blocks handed out on demand", "blocks for the maximum length, at admission"]
