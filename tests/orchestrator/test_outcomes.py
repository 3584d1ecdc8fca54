"""Workers that crash, hang, run out of memory or leave processes behind: each is a row."""

import re

import pytest

CELLS = {
    "good": {"say": "words on stdout"},
    "killed": {"act": "kill"},
    "left": {"act": "exit"},
    "memory": {"act": "memory"},
    "device-memory": {"act": "cuda"},
    "bug": {"act": "error"},
    "usage": {"act": "usage"},
    "late": {"hold": "/"},
    "stubborn": {"leave": "stubborn", "act": "kill"},
    "session": {"leave": "session"},
    "group": {"leave": "group", "act": "error"},
}
EXPECTED = {
    "good": ("ok", ""),
    "killed": ("crashed", "worker killed by SIGKILL"),
    "left": ("crashed", "worker exit code 7"),
    "memory": ("oom", "MemoryError"),
    "device-memory": ("oom", "RuntimeError: CUDA out of memory. Tried to allocate 20 MiB"),
    "bug": ("failed", "ValueError: a bug of the engine's"),
    "usage": ("failed", "Problem: the engine does not do that"),
    "late": ("timeout", "did not end in the time it was given"),
    "stubborn": ("crashed", "worker killed by SIGKILL"),
    "session": ("ok", ""),
    "group": ("failed", "ValueError: a bug of the engine's"),
}


@pytest.fixture(scope="module")
def all_sorts(shared_bench):
    """One run in which every cell but two goes wrong in its own way."""
    backends = [{"label": label, **options} for label, options in CELLS.items()]
    suite = shared_bench.suite(*backends, timeout="6s")
    shared_bench.done = shared_bench.run("--suite", suite, "--out", shared_bench.out)
    return shared_bench


@pytest.mark.parametrize("label", EXPECTED)
def test_status_and_reason(all_sorts, label):
    cell = all_sorts.cells()[f"{label}.r0"]
    status, reason = EXPECTED[label]
    assert cell["status"] == status
    assert cell["reason"].startswith(reason)
    assert "\n" not in cell["reason"]
    assert bool(cell["reason"]) == bool(reason)


@pytest.mark.parametrize(
    ("label", "last"),
    [
        ("killed", "about to: kill"),
        ("left", "about to: exit"),
        ("stubborn", "about to: kill"),
        ("memory", "MemoryError"),
        ("device-memory", "and a second line"),
        ("bug", "ValueError: a bug of the engine's"),
        ("usage", "traces.errors.Problem: the engine does not do that: ask for something else"),
    ],
)
def test_last_log_lines_are_kept(all_sorts, label, last):
    lines = all_sorts.about(f"{label}.r0")["log_tail"]
    assert lines[-1] == last
    assert all_sorts.result()["volatile"]["cells"][f"{label}.r0"]["log_tail"] == lines


def test_stdout_goes_to_the_log_and_is_not_parsed(all_sorts):
    assert "words on stdout" in (all_sorts.out / "cells/good.r0/log.txt").read_text()
    assert "words on stdout" not in all_sorts.done.stdout + all_sorts.done.stderr


def test_no_process_survives(all_sorts):
    assert all_sorts.remains() == {}


def test_the_other_cells_have_their_numbers(all_sorts):
    for label in ("good", "session"):
        cell = all_sorts.cells()[f"{label}.r0"]
        assert cell["requests_run"] == 2
        assert cell["timing"]["output_tokens_per_s"] > 0


def test_a_late_cell_keeps_what_it_recorded(all_sorts):
    cell = all_sorts.cells()["late.r0"]
    assert cell["kv"]["steps"] > 30
    assert 5.5 < all_sorts.about("late.r0")["seconds"] < 20


def test_every_row_is_shown(all_sorts):
    for label, (status, _) in EXPECTED.items():
        assert re.search(rf"^{label}\.r0: {status}\b", all_sorts.done.stderr, re.MULTILINE)
        assert label in all_sorts.done.stdout


def test_the_exit_code_says_invalid(all_sorts):
    assert all_sorts.done.returncode == 4


@pytest.mark.parametrize(
    ("options", "code"),
    [({"act": "memory"}, 0), ({"hold": "/"}, 124)],
)
def test_exit_code(bench, options, code):
    suite = bench.suite(options, timeout="2s" if "hold" in options else "1m")
    assert bench.run("--quiet", "--suite", suite, "--out", bench.out).returncode == code
