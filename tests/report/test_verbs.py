"""The verbs that draw, on a reference result: what they write, and what they refuse."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store import Folder

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "seed-cpu"


def pagedbench(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "orchestrator", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REFERENCE.parents[2])


@pytest.fixture
def folder(tmp_path):
    made = Path(shutil.copytree(REFERENCE, tmp_path / "run"))
    for packed in made.rglob("*.jsonl.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return made


def test_report_from_traces_gives_the_same_numbers(folder):
    before = json.loads((folder / "result.json").read_text())["cells"]
    assert pagedbench("report", folder, "--perfetto").returncode == 0
    after = json.loads((folder / "result.json").read_text())["cells"]
    assert [cell["kv"] for cell in after] == [cell["kv"] for cell in before]
    with gzip.open(folder / "trace.json.gz") as stream:
        events = json.load(stream)["traceEvents"]
    names = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert names == {"hf-sequential.r0", "hf-static.r0", "vllm.r0"}


def test_gzipped_traces_give_the_same_bytes(folder, tmp_path):
    packed = Path(shutil.copytree(REFERENCE, tmp_path / "packed"))
    assert list(packed.rglob("*.jsonl")) == list(folder.rglob("*.jsonl.gz")) == []
    for each in (packed, folder):
        assert pagedbench("report", each).returncode == 0
    assert (packed / "result.json").read_bytes() == (folder / "result.json").read_bytes()
    assert Folder(packed).samples().name == "samples.2.jsonl"  # --resume writes beside what is kept


def test_a_gzip_that_breaks_off_makes_its_cell_doubtful(tmp_path):
    packed = Path(shutil.copytree(REFERENCE, tmp_path / "packed"))
    trace = packed / "cells" / "hf-static.r0" / "worker.jsonl.gz"
    trace.write_bytes(trace.read_bytes()[:-40])
    assert pagedbench("report", packed).returncode == 0
    cells = json.loads((packed / "result.json").read_text())["cells"]
    told = {cell["label"]: cell["suspect"] for cell in cells}
    assert told["hf-static"] == ["1 lines of the traces could not be read"]
    assert told["vllm"] == []


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


@pytest.mark.parametrize("gone", ["cells", "cells/vllm.r0/worker.jsonl", "samples.jsonl"])
def test_numbers_whose_traces_are_gone_are_left_as_they_are(folder, gone):
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = (folder / "result.json").read_bytes()
    done = pagedbench("report", folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert (folder / "result.json").read_bytes() == before


def test_lines_that_cannot_be_read_are_told(folder):
    with (folder / "cells" / "vllm.r0" / "worker.jsonl").open("a") as trace:
        trace.write('{"v":1,"k":"nonsense"\n{"v":1,"k":"request","t":"late"}\n')
    assert pagedbench("report", folder).returncode == 0
    cells = json.loads((folder / "result.json").read_text())["cells"]
    suspect = {cell["label"]: cell["suspect"] for cell in cells}
    assert suspect["vllm"] == ["2 lines of the traces could not be read"]
    assert suspect["hf-static"] == []


def test_a_file_that_cannot_be_opened_is_one_line(folder):
    (folder / "result.json").unlink()
    (folder / "result.json").mkdir()
    done = pagedbench("report", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "result.json" in done.stderr


def test_other_work_on_the_processors_makes_a_run_doubtful(folder):
    """The recorded run was quiet; here its host had three programs more."""
    trace = folder / "samples.jsonl"
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    slowed = {}
    for line in lines:
        if line["k"] == "host" and line.get("cpu_s") is not None:
            line["load1"] += 3
            line["cpu_s"] *= 0.6
            slowed[line["t"]] = line["load1"]
    trace.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert slowed
    assert pagedbench("report", folder).returncode == 0
    for cell in json.loads((folder / "result.json").read_text())["cells"]:
        assert any("other work on the processors" in doubt for doubt in cell["suspect"])
    clean = json.loads((REFERENCE / "result.json").read_text())["cells"]
    assert all(cell["suspect"] == [] for cell in clean)


@pytest.mark.parametrize(
    ("section", "value", "place"),
    [
        ("suite", {"backend": ["vllm"]}, "$.suite.backend[0]"),
        ("environment", {"gpus": 5}, "$.environment.gpus"),
        ("environment", {"cpu": []}, "$.environment.cpu"),
        ("model", 3, "$.model"),
    ],
)
def test_a_field_of_a_wrong_type_is_one_line(folder, section, value, place):
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), section: value}))
    done = pagedbench("report", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert all(part in done.stderr for part in (str(path), f"`{place}`", "Expected", "got"))


def test_an_engines_fact_of_a_wrong_type_is_one_line(folder):
    with (folder / "cells" / "vllm.r0" / "worker.jsonl").open("a") as trace:
        trace.write('{"v":2,"k":"facts","t":9000000000000000000,"values":{"num_blocks":"many"}}\n')
    done = pagedbench("report", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "num_blocks" in done.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"repeat": "0"}, "repeat: Expected `int`, got `str`"),
        ({"status": "fine"}, "status: Invalid enum value 'fine'"),
        ({"label": None}, "label: Expected `str`, got `null`"),
        (
            {"certificate": {"before": {"devices": [{"uuid": "GPU-1"}], "waited_s": 0}}},
            "certificate.before.devices[0]: Object missing required field `used`",
        ),
    ],
)
def test_a_wrong_type_in_cell_json_is_one_line_with_its_field(folder, change, says):
    path = folder / "cells" / "vllm.r0" / "cell.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    done = pagedbench("report", folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path}: {says}" in done.stderr


def test_a_cell_json_of_another_version_is_read(folder):
    path = folder / "cells" / "vllm.r0" / "cell.json"
    about = json.loads(path.read_bytes()) | {"of_tomorrow": [1, {"x": None}]}
    del about["suspect"], about["pid"]
    path.write_text(json.dumps(about))
    assert pagedbench("report", folder).returncode == 0
    cells = json.loads((folder / "result.json").read_bytes())["cells"]
    assert next(cell for cell in cells if cell["label"] == "vllm")["status"] == "ok"
