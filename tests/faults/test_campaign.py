"""The campaign itself: what it plans, and that it sees what does not hold."""

import os
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from click.testing import CliRunner

from tests.faults import __main__ as campaign
from tests.faults.checks import ended, exact, quiet, readable
from tests.faults.scene import Breach, Done, Scene
from tests.orchestrator.bench import ROOT


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path / "1", Random(0), lambda engine: tmp_path / engine)


def test_the_plan_is_of_the_seed_and_has_every_kind():
    planned = campaign.plan(1, campaign.COUNT, ())
    assert planned == campaign.plan(1, campaign.COUNT, ())
    assert planned != campaign.plan(2, campaign.COUNT, ())
    counts = Counter(planned)
    assert sum(counts.values()) == campaign.COUNT >= 200
    assert {kind: counts[kind] for kind in campaign.KINDS} == {
        kind: share for kind, (_, share) in campaign.KINDS.items()
    }
    assert {*campaign.plan(0, 9, ("full disk",))} == {"full disk"}


def test_a_survivor_is_a_breach_and_is_ended(scene):
    sleeper = subprocess.Popen(["sleep", "60"], cwd=scene.home, env={})
    with pytest.raises(Breach, match="survivors"):
        quiet(scene)
    assert sleeper.wait(5) == -9


def test_a_lock_that_is_held_is_a_breach(scene):
    path = scene.home / "pagedbench-host.lock"
    holder = (
        "import fcntl, sys; f = open(sys.argv[1], 'w')\n"
        "fcntl.flock(f, 2); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(Breach, match="still held"):
            quiet(scene)
        process.kill()


@pytest.mark.parametrize(
    ("done", "says"),
    [
        (Done(1, "", ""), "exit code 1"),
        (Done(2, "", "pagedbench: one\nand two\n"), "not one line"),
        (Done(2, "", "Traceback (most recent call last):"), "a traceback"),
        (Done(2, "", "pagedbench: a fault of pagedbench: KeyError"), "a fault of pagedbench"),
        (Done(2, "half a table", "pagedbench: x\n"), "it printed, too"),
    ],
)
def test_what_it_said_and_how_it_ended(scene, done, says):
    with pytest.raises(Breach, match=says):
        ended(scene, done, 0, 2)


def test_a_file_that_cannot_be_read_is_a_breach(scene):
    cell = scene.bench.out / "cells"
    cell.mkdir(parents=True)
    header = (
        b'{"v":1,"k":"header","t":1,"clock":"c","boot_id":"b","wall_ns":2,"host":"h",'
        b'"pid":3,"writer":"w"}\n'
    )
    (cell / "worker.jsonl").write_bytes(header)
    readable(scene)
    (cell / "worker.jsonl").write_bytes(header + b'{"v":1,"k":"pha')
    readable(scene, torn=True)
    with pytest.raises(Breach, match="torn"):
        readable(scene)
    (cell / "worker.jsonl").write_bytes(header + b"{]\n")
    with pytest.raises(Breach, match="1 bad lines"):
        readable(scene, torn=True)


def test_a_few_of_it(tmp_path):
    """Of the kinds that take least."""
    arguments = ["--count", "2", "--seed", "3", "--jobs", "1", "--folder", str(tmp_path / "f")]
    kinds = ["--only", "broken model", "--only", "full disk"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *arguments, *kinds], cwd=ROOT, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "all                         2     2" in done.stdout


def test_a_breach_ends_it_with_1_and_says_how_to_stage_it_again(monkeypatch, tmp_path):
    def breaks(scene):
        scene.note("the dice")
        raise Breach("it did not hold")

    monkeypatch.setitem(campaign.KINDS, "full disk", (breaks, 1))
    arguments = ["--only", "full disk", "--count", "1", "--folder", str(tmp_path / "f")]
    done = CliRunner().invoke(campaign.main, arguments)
    assert done.exit_code == 1
    assert (
        "breach: --seed 0 --count 1 --number 0: Breach: it did not hold [the dice]" in done.output
    )


def test_numbers_that_a_fault_made_wrong_are_seen():
    from benchmarks.synthetic import Shop

    one, other = (Shop(seed=seed).result().cells[0] for seed in (1, 1))
    assert exact(one) == exact(other)
    assert other.output_tokens is not None
    other.output_tokens += 1
    assert exact(one) != exact(other)
