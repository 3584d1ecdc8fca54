"""`pagedbench export`: every format is read back by a reader of that format."""

import csv
import io
import json
import sys

import jsonschema
import pytest

from benchmarks.synthetic import Shop
from compare.metrics import METRICS

# The schema that Bencher publishes.
BMF = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "properties": {
                name: {"type": "number"} for name in ("value", "lower_value", "upper_value")
            },
            "required": ["value"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def folder(stored):
    result = Shop(seed=1).result()
    result.cells[3].status, result.cells[3].timing, result.cells[3].kv = "oom", None, None
    return stored("one", result)


def test_csv(pagedbench, folder):
    done = pagedbench("export", folder, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == 15
    assert rows[0]["label"] == "hf-sequential"
    assert float(rows[10]["kv_peak_reserved"]) == 512
    assert rows[3]["status"] == "oom"
    assert rows[3]["output_tokens_per_s"] == ""  # not 0
    assert {metric.name for metric in METRICS} < rows[0].keys()


def test_parquet(pagedbench, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "one.parquet"
    assert pagedbench("export", folder, "--format", "parquet", "--out", out).code == 0
    table = parquet.read_table(out)
    assert table.num_rows == 15
    assert table.column("output_tokens_per_s").null_count == 1
    assert str(table.schema.field("repeat").type) == "int64"


def test_parquet_without_pyarrow_says_what_to_install(pagedbench, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    done = pagedbench("export", folder, "--format", "parquet")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "pagedbench[parquet]" in done.err


def test_bmf(pagedbench, folder):
    found = json.loads(pagedbench("export", folder, "--format", "bmf").out)
    jsonschema.validate(found, BMF)
    measure = found["seed/smollm2-135m/vllm"]["output-tokens-per-s"]
    assert measure["lower_value"] < measure["value"] < measure["upper_value"]
    assert "ttft-p99" not in found["seed/smollm2-135m/vllm"]  # four requests do not support it


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_github_action_benchmark(pagedbench, folder, better):
    command = ("export", folder, "--format", "github-action-benchmark", "--better", better)
    found = json.loads(pagedbench(*command).out)
    names = {entry["name"] for entry in found}
    assert ("vllm: output throughput" in names) == (better == "higher")
    assert ("vllm: KV slots held, peak" in names) == (better == "lower")
    for entry in found:
        assert isinstance(entry["value"], float)
        assert entry.keys() <= {"name", "unit", "value", "range", "extra"}


def test_openmetrics(pagedbench, stored):
    parser = pytest.importorskip("prometheus_client.openmetrics.parser")
    result = Shop(seed=1).result()
    for cell in result.cells:
        cell.label = 'a "quoted" \\ label\n'
    done = pagedbench("export", stored("odd", result), "--format", "openmetrics")
    families = {f.name: f for f in parser.text_string_to_metric_families(done.out)}
    family = families["pagedbench_ttft_mean_seconds"]
    assert family.unit == "seconds"
    assert family.samples[0].labels["label"] == 'a "quoted" \\ label\n'
    assert families["pagedbench_run"].samples[0].labels["suite"] == "seed"


def test_nothing_is_overwritten(pagedbench, folder, tmp_path):
    out = tmp_path / "there.csv"
    out.write_text("mine")
    done = pagedbench("export", folder, "--format", "csv", "--out", out)
    assert (done.code, out.read_text(), done.err.count("\n")) == (2, "mine", 1)
    done = pagedbench("export", folder, "--format", "csv", "--out", tmp_path / "no" / "x.csv")
    assert (done.code, done.err.count("\n")) == (2, 1)


def test_bytes_are_the_same_every_time(pagedbench, folder):
    for form in ("csv", "bmf", "openmetrics", "github-action-benchmark"):
        command = ("export", folder, "--format", form)
        assert pagedbench(*command).out == pagedbench(*command).out
