"""The verbs that draw, on a reference result: what they write, and what they refuse."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "seed-cpu"


def pagedbench(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REFERENCE.parents[2])


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(REFERENCE, tmp_path / "run"))


def test_report_from_traces_gives_the_same_numbers(folder):
    before = json.loads((folder / "result.json").read_text())["cells"]
    assert pagedbench("report", folder, "--perfetto").returncode == 0
    after = json.loads((folder / "result.json").read_text())["cells"]
    assert [cell["kv"] for cell in after] == [cell["kv"] for cell in before]
    with gzip.open(folder / "trace.json.gz") as stream:
        events = json.load(stream)["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {"hf-sequential.r0", "hf-static.r0", "vllm.r0"}


def test_diff_draws_both_runs(folder, tmp_path):
    page = tmp_path / "both.html"
    done = pagedbench("diff", REFERENCE, folder, "--html", page)
    assert done.returncode == 0, done.stderr
    assert "hf-static" in page.read_text(encoding="utf-8")
    again = pagedbench("diff", REFERENCE, folder, "--html", page)
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "exists already" in again.stderr


def test_diff_needs_traces_to_draw(folder, tmp_path):
    done = pagedbench("diff", REFERENCE, folder / "result.json", "--html", tmp_path / "x.html")
    assert done.returncode == 2
    assert "not a result folder" in done.stderr
