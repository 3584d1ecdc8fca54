"""Paths in a suite belong to the suite's folder, wherever it is run from."""

import json
import shutil

import pytest

from orchestrator import suite
from tests.orchestrator.bench import SHAPE, toml
from traces.errors import Problem


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a suite into a folder that is not the current one; return the suite as loaded."""
    home, elsewhere = tmp_path / "suite", tmp_path / "elsewhere"
    (home / "data").mkdir(parents=True)
    elsewhere.mkdir()
    (home / "data" / "lines.jsonl").write_text('{"prompt": "a"}\n')
    (home / "shape.json").write_text(json.dumps(SHAPE))
    monkeypatch.chdir(elsewhere)

    def load(path="data/lines.jsonl", name=home / "s.toml", **changes):
        workload = {"kind": "jsonl", "path": path}
        table = {"name": "s", "workload": workload, "backend": [{"name": "vllm"}], **changes}
        (home / "s.toml").write_text(toml(table))
        return suite.load(str(name))

    return load


def test_a_file_beside_the_suite(written, tmp_path):
    expected = str(tmp_path / "suite" / "data" / "lines.jsonl")
    assert written().workload.path == expected
    assert written(name="../suite/s.toml").workload.path.endswith("suite/data/lines.jsonl")
    assert written(path=expected).workload.path == expected


def test_a_file_of_the_current_folder_is_not_meant(written, tmp_path):
    shutil.copy(tmp_path / "suite" / "data" / "lines.jsonl", "here.jsonl")
    with pytest.raises(Problem, match=r"suite/here\.jsonl': there is no such file"):
        written(path="here.jsonl")


def test_home(written, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "suite"))
    expected = str(tmp_path / "suite" / "data" / "lines.jsonl")
    assert written(path="~/data/lines.jsonl").workload.path == expected
    assert written(name="~/s.toml").workload.path == expected


def test_models(written, tmp_path):
    home = tmp_path / "suite"
    (home / "models" / "mine").mkdir(parents=True)
    (home / "smollm2-135m").mkdir()
    assert written(model="shape:shape.json").model == f"shape:{home}/shape.json"
    assert written(model="models/mine").model == str(home / "models" / "mine")
    for named in ("smollm2-135m", "shape:gpt2", "owner/name"):
        assert written(model=named).model == named
