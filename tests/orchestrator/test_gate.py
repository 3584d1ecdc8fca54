"""`pagedbench gate`: two revisions, interleaved, in checkouts that are gone afterwards."""

import json
import random
import signal
import subprocess
import time

import pytest

from benchmarks.synthetic import Shop
from measure import canonical
from orchestrator import gate
from traces.errors import Problem


def left(toy):
    """Worktrees that git knows of beside the first, and folders of checkouts."""
    trees = toy.shell("git worktree list --porcelain").out.count("worktree ") - 1
    home = toy.path.parent / "home" / "cache" / "pagedbench" / "checkouts"
    return trees, list(home.glob("*")) if home.exists() else []


def test_a_slower_revision_does_not_pass(toy):
    toy.commit("slower", noise=0.005, slower={"vllm": 1.2})
    done = toy.pagedbench("gate", "HEAD~1", "HEAD")
    assert done.code == 1, done.err
    assert "regressed: output_tokens_per_s of vllm" in done.out
    assert left(toy) == (0, [])
    folder = next(toy.path.glob("results/*-gate"))
    head = canonical.loads(folder / "head" / "result.json")
    assert [c.repeat for c in head.cells if c.label == "vllm"] == [0, 1, 2, 3, 4]
    assert len(list(folder.glob("rounds/*-base/result.json"))) == 5
    assert (folder / "diff.md").is_file()
    assert json.loads((folder / "base" / "result.json").read_text())["volatile"]["rounds"] == 5


def test_the_same_revision_passes(toy):
    done = toy.pagedbench("gate", "main", "HEAD", "--rounds", "3")
    assert done.code == 0, done.err
    assert left(toy) == (0, [])


def test_a_run_that_breaks_ends_it_and_leaves_nothing(toy):
    toy.commit("broken", exit=9)
    done = toy.pagedbench("gate", "HEAD~1", "HEAD")
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        "pagedbench: the run left no result (exit code 9): the engine broke"
    )
    assert left(toy) == (0, [])


def test_a_setup_that_breaks_ends_it_and_leaves_nothing(toy):
    (toy.path / "Makefile").write_text("setup:\n\t@echo no such package; exit 3\n")
    toy.commit("no setup", noise=0.01)
    done = toy.pagedbench("gate", "HEAD~1", "HEAD")
    assert done.code == 2
    assert "`make setup` failed" in done.err
    assert "no such package" in done.err or "Error 3" in done.err
    assert left(toy) == (0, [])


@pytest.mark.parametrize("name", ["nothing", "--all", "HEAD^{tree}"])
def test_a_name_that_is_no_revision(toy, name):
    done = toy.pagedbench("gate", "--", "HEAD", f"'{name}'")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "not a revision" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up(toy, number):
    toy.commit("slow to run", sleep=30)
    process = subprocess.Popen(
        [".venv/bin/pagedbench", "gate", "HEAD", "HEAD~1"], cwd=toy.path, env=toy.environment,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    assert "setting up" in process.stderr.readline()
    end = time.monotonic() + 30
    while left(toy)[0] < 2 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert left(toy) == (0, [])
    assert list(toy.path.glob("results/*-gate"))


def test_what_a_killed_gate_left_is_swept_by_the_next(toy):
    dead = subprocess.Popen(["true"])
    dead.wait()
    leftover = toy.path.parent / f"home/cache/pagedbench/checkouts/{dead.pid}/0-x"
    assert toy.shell(f"git worktree add --detach {leftover} HEAD").code == 0
    assert left(toy)[0] == 1
    assert toy.pagedbench("gate", "HEAD", "HEAD", "--rounds", "1").code == 0
    assert left(toy) == (0, [])


def test_rounds_are_interleaved_and_fair():
    planned = gate.rounds(200)
    assert [number for number, _ in planned[::2]] == list(range(200))
    assert all(planned[i][1] != planned[i + 1][1] for i in range(0, 400, 2))
    assert 70 < sum(side for _, side in planned[::2]) < 130


def test_rounds_of_different_work_are_not_one_result():
    one, two = Shop(repeats=1).result(), Shop(repeats=1).result()
    two.dtype = "float32"
    with pytest.raises(Problem, match="not the same experiment"):
        gate.merged([one, two])


def test_merging_keeps_every_repeat_apart():
    parts = [Shop(seed=random.randrange(10**6), repeats=2).result() for _ in range(3)]
    merged = gate.merged(parts)
    repeats = [c.repeat for c in merged.cells if c.label == "vllm"]
    assert repeats == [0, 1, 2, 3, 4, 5]
    assert merged.suite["repeats"] == 3
