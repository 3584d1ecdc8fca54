"""A run that cannot be done leaves nothing behind, so that it can be corrected and tried again."""

import pytest

from orchestrator.store import Folder

LONG = {"kind": "shared-prefix", "requests": 1, "prefix": 600}


def test_the_same_folder_is_free_again(bench):
    arguments = ("--quiet", "--out", bench.out, "--suite")
    done = bench.run(*arguments, bench.suite(workload=LONG))  # found out by the preparation
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = bench.run(*arguments, bench.suite(device="cuda"))  # and this beside the sampler
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not bench.out.exists()
    done = bench.run(*arguments, bench.suite())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("theirs", ["notes.txt", "cells/stub0.r0/worker.jsonl"])
def test_what_is_not_ours_or_measured_stays(tmp_path, theirs):
    folder = Folder.create(tmp_path / "run", tmp_path, "s", None)
    path = folder.path / theirs
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    folder.discard()
    assert path.read_text() == "precious"


def test_a_run_that_goes_on_keeps_its_folder(bench):
    bench.run("--quiet", "--out", bench.out, "--suite", bench.suite())
    (bench.home / "config.json").write_text("[]")
    for cell in bench.out.glob("cells/*/*"):
        cell.unlink()
    for cell in bench.out.glob("cells/*"):
        cell.rmdir()
    assert bench.resume().returncode == 2
    assert (bench.out / "result.json").is_file()
