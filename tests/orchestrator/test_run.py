"""A run that goes well: what it writes and when, in which order, and what it shows."""

import json
import re

import pytest

from orchestrator import plan, suite
from traces.reader import read
from traces.records import Host, Mark, Phase

THREE = [{"label": "a"}, {"label": "b"}, {"label": "c"}]


@pytest.fixture(scope="module")
def finished(shared_bench):
    """One run of three stubs, twice each."""
    path = shared_bench.suite(*THREE, repeats=2, seed=7)
    shared_bench.done = shared_bench.run("--suite", path, "--out", shared_bench.out)
    assert shared_bench.done.returncode == 0, shared_bench.done.stderr
    return shared_bench


def test_the_folder_holds_what_was_asked_and_all_traces(finished):
    names = {path.name for path in finished.out.iterdir()}
    assert names >= {
        "suite.json", "workload.json", "samples.jsonl", "result.json", "report.md", "report.html",
    }  # fmt: skip
    for cell in finished.cells():
        assert {path.name for path in (finished.out / "cells" / cell).iterdir()} == {
            "cell.json", "log.txt", "worker.jsonl",
        }  # fmt: skip
    assert (finished.home / "latest").resolve() == finished.out


def test_every_cell_counts_what_the_workload_asks_for(finished):
    asked = json.loads((finished.out / "workload.json").read_bytes())["requests"]
    for cell in finished.cells().values():
        assert [row["output_tokens"] for row in cell["rows"]] == [r["output_tokens"] for r in asked]
        assert cell["kv"]["efficiency"] == 1.0
    hashes = {row["token_ids_sha256"] for c in finished.cells().values() for row in c["rows"]}
    assert len(hashes) == len(asked)


def test_cells_run_interleaved_in_the_order_of_the_seed(finished):
    begun = re.findall(r"(\w\.r\d): begins", finished.done.stderr)
    assert {name[-1] for name in begun[:3]} == {"0"}
    assert sorted(begun[:3]) == ["a.r0", "b.r0", "c.r0"]
    assert [name[0] for name in begun[:3]] != [name[0] for name in begun[3:]]  # seed 7


def test_memory_at_the_end_of_the_run_is_read_before_anything_is_given_back(finished):
    """A teardown may not begin before the sampler has read the PSS of the run's end."""
    samples = list(read(finished.out / "samples.jsonl"))
    ends = {r.cell: r.t for r in samples if isinstance(r, Mark) and _where(r) == "run.end"}
    assert ends.keys() == finished.cells().keys()
    for cell, end in ends.items():
        seen = next(r for r in samples if isinstance(r, Host) and r.t > end and r.pss)
        edges = {_where(r): r.t for r in finished.trace(cell) if isinstance(r, Phase)}
        assert edges["run.end"] < seen.t < edges["teardown.begin"]
        assert edges["teardown.begin"] - edges["run.end"] < 1.5e9  # nobody waited in vain


def _where(edge):
    return f"{getattr(edge, 'phase', '') or edge.name}.{edge.edge}"


def test_the_result_lists_them_in_the_suites_order(finished):
    assert list(finished.cells()) == [f"{label}.r{n}" for label in "abc" for n in (0, 1)]


def test_without_a_terminal_the_progress_is_plain_lines(finished):
    lines = finished.done.stderr.splitlines()
    assert lines[0] == f"6 cells to run, into {finished.out}"
    assert sum("This will take about" in line for line in lines) == 1
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", finished.done.stderr)
    phases = [line.split("] ")[1] for line in lines if line.startswith("[") and "a.r0" in line]
    begins = ["begins", "import", "load", "warmup", "run", "teardown"]
    assert phases == [f"a.r0: {name}" for name in begins]
    assert str(finished.out) in finished.done.stdout


def test_quiet_prints_the_comparison_and_nothing_else(finished):
    done = finished.run("--resume", finished.out, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "memory efficiency" in done.stdout
    assert str(finished.out) not in done.stdout


def test_resuming_a_finished_run_runs_nothing(finished):
    before = {name: finished.about(name) for name in finished.cells()}
    done = finished.run("--resume", finished.out)
    assert done.stderr.splitlines()[0].startswith("0 cells to run")
    assert {name: finished.about(name) for name in finished.cells()} == before


def test_the_report_is_made_anew_without_engines_or_gpu(finished):
    """From the traces alone, and the same to the last byte."""
    before = {name: (finished.out / name).read_bytes() for name in ("result.json", "report.md")}
    code = (
        "import sys; gone = ('torch', 'transformers', 'vllm', 'pynvml', 'workers', 'monitor')\n"
        "sys.modules.update(dict.fromkeys(gone))\n"
        "from orchestrator.cli import main; main()"
    )
    done = finished.run(finished.out, verb="report", python=("-c", code))
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: (finished.out / name).read_bytes() for name in before} == before


def test_doctor_lists_every_backend_with_what_it_lacks(finished):
    done = finished.run(verb="doctor")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert (
        "[MISS] stub-elsewhere: no-such-package is not installed; `make setup` installs it" in lines
    )
    assert any(line.startswith("[ok  ] stub: ") for line in lines)
    assert any(line.startswith("[note] no GPU: ") for line in lines)
    assert lines[-1].startswith("This machine can run: ")
    assert "stub-elsewhere" not in lines[-1]


def test_a_result_is_there_after_every_cell(bench):
    process = bench.start("--suite", bench.suite(*THREE, seed=1), "--out", bench.out)
    seen = {}
    for line in process.stderr:
        if name := re.fullmatch(r"\[.*\] (\w\.r0): begins\n", line):
            seen[name[1]] = (bench.out / "result.json").exists() and list(bench.cells())
    assert seen == {"a.r0": False, "b.r0": ["a.r0"], "c.r0": ["a.r0", "b.r0"]}
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 0
    assert not list(bench.out.rglob("*.unfinished"))


def test_the_estimate_is_the_last_runs_time(bench):
    path = bench.suite({"step_s": 0.05})
    first = bench.run("--suite", path, "--out", bench.home / "first")
    second = bench.run("--suite", path, "--out", bench.home / "second")
    told = re.findall(r"This will take about (\d+) s", first.stderr + second.stderr)
    took = json.loads((bench.home / "first/cells/stub0.r0/cell.json").read_bytes())["seconds"]
    assert int(told[1]) == round(took)
    assert int(told[0]) > 20  # a rough guess for an engine, which a stub is not


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_the_order_is_seeded_and_every_repeat_has_its_own(seed):
    data = {
        "name": "x", "workload": {"kind": "mixed", "requests": 1}, "repeats": 20, "seed": seed,
        "backend": [{"name": "vllm", "label": label} for label in "abcdef"],
    }  # fmt: skip
    chosen = suite.parse(data, "test")
    cells = plan.cells(chosen)
    assert cells == plan.cells(chosen)
    rounds = [[c.entry.title for c in cells[6 * n : 6 * n + 6]] for n in range(20)]
    assert all(sorted(titles) == list("abcdef") for titles in rounds)
    assert [{c.repeat for c in cells[6 * n : 6 * n + 6]} for n in range(20)] == [
        {n} for n in range(20)
    ]
    assert len(set(map(tuple, rounds))) > 10
    first = [titles[0] for titles in rounds]
    assert len(set(first)) > 2
    other = plan.cells(suite.parse({**data, "seed": seed + 1}, "test"))
    assert [c.name for c in other] != [c.name for c in cells]


def test_the_order_is_the_same_in_every_python():
    data = {
        "name": "x", "workload": {"kind": "mixed", "requests": 1}, "repeats": 2, "seed": 3,
        "backend": [{"name": "vllm", "label": label} for label in "abcdef"],
    }  # fmt: skip
    order = "".join(cell.entry.title for cell in plan.cells(suite.parse(data, "test")))
    assert order == "acbdfe" + "bdeacf"
