"""Whatever a file holds: it is read rightly, or refused in one line with 2 or 4. Never a traceback,
never over 10 s or 1 GiB. FUZZ_EXAMPLES says how many of each are tried; `make faults` tries 2,000.
"""

import io
import json
import os
import resource
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from random import Random
from typing import cast
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.synthetic import Shop
from measure import canonical
from orchestrator import backends, cli, models
from orchestrator.run import SuiteRun
from tests.faults.damage import damaged_bytes, damaged_data
from tests.faults.scene import TOKENIZER, Scene
from tests.orchestrator.bench import toml
from traces import control
from traces import workload as kinds
from traces.errors import Problem
from traces.messages import Failed
from traces.preparing import Note, Preparation, Prepared, Source
from workers import prepare, tokenizer, workloads

GIB = 1 << 30
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=10_000, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture,
                           HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
SUITE = {
    "name": "s", "about": "x", "model": "shape:gpt2", "dtype": "float32", "device": "cpu",
    "repeats": 2, "seed": 1, "interval": "10ms", "timeout": "5m", "budget": "1m",
    "kv_budget": "8MiB", "max_length": 64, "trust_remote_code": False,
    "workload": {"kind": "uniform", "requests": 2, "prompt": [4, 8], "output": [4, 6]},
    "sweep": {"policy": ["paged", "reserve-max"], "kv_budget": ["1GiB"]},
    "backend": [{"name": "vllm", "label": "a", "options": {"block_size": 32}},
                {"name": "hf-static", "options": {}}],
}  # fmt: skip
LINES = [
    {"prompt": "a b a", "output_tokens": 3}, {"prompt": "b", "max_tokens": 2},
    {"messages": [{"role": "user", "content": "a b"}], "output_tokens": 4},
]  # fmt: skip
TALKS = [
    {"id": "1", "conversations": [{"from": "human", "value": "a b"},
                                  {"from": "gpt", "value": "b"}]},
    {"id": "2", "conversations": [{"from": "system", "value": "a"},
                                  {"from": "human", "value": "b"}, {"from": "gpt", "value": "a"}]},
    {"id": "3", "messages": [{"role": "user", "content": "a b"},
                             {"role": "assistant", "content": "b b"}]},
]  # fmt: skip
SHAPES = [json.loads(path.read_bytes()) for path in sorted(models.SHAPES.glob("*.json"))]
MAX_LENGTH = 2048


@pytest.fixture(autouse=True)
def _one_gibibyte():
    """More memory than now and 1 GiB is refused, which ends in a MemoryError and fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def command(*arguments):
    """Run the command line in this process; it must say one line, or be right."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    argv = ["pagedbench", *map(str, arguments)]
    streams = redirect_stdout(out), redirect_stderr(err)
    with patch.object(sys, "argv", argv), streams[0], streams[1]:
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    said = err.getvalue()
    assert "a fault of" not in said, said
    assert code in (0, 1, 2, 3, 4, 5), said
    if code == 2:
        one_line(said.removesuffix("\n"), "pagedbench: ")
        assert len(said) < 1100
    return code


def one_line(said, has):
    assert "\n" not in said, said
    assert has in said, said


class Reached(Problem):
    """The suite was taken: it would run."""


@fuzz
@given(data=st.data())
def test_suites(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("suite")
    raw = data.draw(
        damaged_bytes(toml(SUITE).encode()) | damaged_data(SUITE).map(lambda made: _as_toml(made))
    )
    (home / "s.toml").write_bytes(raw)
    taken = patch.object(SuiteRun, "execute", side_effect=Reached("it would run"))
    missing = patch.object(backends.Backend, "missing", return_value="")
    with taken, missing, patch.dict(os.environ, {"PAGEDBENCH_LOCKS": str(home)}):
        assert command("run", "--quiet", "--suite", home / "s.toml", "--out", home / "run") == 2
    shutil.rmtree(home)


def _as_toml(made):
    """As far as it can be written; JSON's literals that are none of TOML's are bad TOML."""
    return toml(made).encode("utf-8", errors="surrogatepass")


@fuzz
@given(data=st.data())
def test_prompts(tmp_path_factory, data):
    whole = b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
    damaged = damaged_data(LINES).map(
        lambda made: b"".join(json.dumps(line).encode() + b"\n" for line in made)
    )
    _workload(tmp_path_factory, data.draw(damaged_bytes(whole) | damaged), "x.jsonl")


@fuzz
@given(data=st.data())
def test_conversations(tmp_path_factory, data):
    whole = json.dumps(TALKS).encode()
    damaged = damaged_data(TALKS).map(lambda made: json.dumps(made).encode())
    _workload(tmp_path_factory, data.draw(damaged_bytes(whole) | damaged), "x.json")


def _workload(tmp_path_factory, raw, name):
    home = tmp_path_factory.mktemp("texts")
    (home / name).write_bytes(raw)
    (home / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    path = str(home / name)
    spec = kinds.Jsonl(path=path) if name.endswith("l") else kinds.ShareGpt(path=path, requests=2)
    try:
        made = workloads.build("w", spec, 0, 100, MAX_LENGTH, tokenizer.load(home))
    except Problem as problem:
        one_line(str(problem), path)
    else:
        assert made.requests
        for prompt in made.requests:
            assert prompt.prompt_ids
            assert prompt.output_tokens >= 1
            assert prompt.total <= MAX_LENGTH
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def _transformers():
    """Loading it takes longer than any file may."""
    classes = pytest.importorskip("transformers").AutoConfig
    for shape in SHAPES:
        classes.for_model(shape["model_type"])


class Channel:
    """Keeps what prepare says."""

    def __init__(self):
        self.said = []

    def send(self, message):
        self.said.append(message)


@pytest.mark.slow
@pytest.mark.usefixtures("_transformers")
@fuzz
@given(data=st.data())
def test_configurations(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("config")
    whole = data.draw(st.sampled_from(SHAPES))
    damaged = damaged_data(whole).map(lambda made: json.dumps(made).encode())
    path = home / "config.json"
    path.write_bytes(data.draw(damaged_bytes(json.dumps(whole).encode()) | damaged))
    spec = kinds.Uniform(requests=2, prompt=(4, 8), output=(4, 6))
    asked = Preparation(
        source=Source(kind="shape", name="shape:x", path=str(path)), cache=str(home / "cache"),
        name="w", spec=spec, seed=0, max_length=None, out=str(home / "workload.json"),
        trust_remote_code=False,
    )  # fmt: skip
    channel = Channel()
    prepare.main(asked, cast(control.Channel, channel))
    (answer,) = [message for message in channel.said if not isinstance(message, Note)]
    if isinstance(answer, Failed):
        one_line(answer.message, str(path))
    else:
        assert isinstance(answer, Prepared)
        assert answer.model.layers * answer.model.kv_heads * answer.model.head_dim > 0
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of the stand-in engine, whose traces have no seals: what they hold is to be read."""
    scene = Scene(tmp_path_factory.mktemp("whole") / "scene", Random(0), Path)
    done = scene.finish(scene.start(scene.suite("stub")))
    assert done.code == 0, done.err
    (path,) = scene.bench.out.glob("cells/*/cell.json")
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "sealed": {}}))
    return scene.bench.out


@fuzz
@given(data=st.data())
def test_traces(whole_run, data):
    path = data.draw(st.sampled_from(sorted(whole_run.rglob("*.jsonl"))))
    whole, result = path.read_bytes(), (whole_run / "result.json").read_bytes()
    lines = whole.splitlines(keepends=True)
    number = data.draw(st.integers(0, len(lines) - 1))
    line = json.loads(lines[number])
    damaged = damaged_data(line).map(lambda made: json.dumps(made).encode() + b"\n")
    other = damaged.map(lambda made: b"".join([*lines[:number], made, *lines[number + 1 :]]))
    path.write_bytes(data.draw(damaged_bytes(whole) | other))
    try:
        code = command("report", whole_run)
        assert code in (0, 2, 4)
        if code != 2:
            canonical.loads(whole_run / "result.json")
    finally:
        path.write_bytes(whole)
        (whole_run / "result.json").write_bytes(result)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    (folder / "result.json").write_bytes(canonical.dumps(Shop(seed=1).result()))
    return folder


@fuzz
@given(data=st.data())
def test_results(base, tmp_path_factory, data):
    bad = tmp_path_factory.mktemp("bad")
    whole = (base / "result.json").read_bytes()
    damaged = damaged_data(msgspec.json.decode(whole)).map(lambda made: json.dumps(made).encode())
    (bad / "result.json").write_bytes(data.draw(damaged_bytes(whole) | damaged))
    command("diff", base, bad)
    command("export", bad, "--format", "csv")
    shutil.rmtree(bad)
