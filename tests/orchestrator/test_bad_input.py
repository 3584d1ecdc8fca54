"""Bad input: one line that says what and what to do, exit code 2, nothing lost."""

import json
import os
import struct
import sys
from pathlib import Path

import pytest
from multiprocess import resource_tracker

from orchestrator import backends, cli
from tests.orchestrator.bench import PLUGIN, SHAPE

WORKLOAD = {"kind": "uniform", "requests": 2, "prompt": [4, 8], "output": [4, 6]}
TEXTS = {"kind": "prompts", "prompts": ["Hello!"], "output_tokens": 4}


@pytest.fixture
def refused(bench, monkeypatch, capsys):
    """Run `pagedbench run` in this process; return its one line."""
    resource_tracker.ensure_running()  # multiprocess's own: it outlives the test
    for name, value in bench.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(bench.home)
    monkeypatch.syspath_prepend(str(PLUGIN))
    backends.table.cache_clear()

    def run(*arguments):
        argv = ["run", "--quiet", *map(str, arguments)]
        if "--out" not in argv:
            argv += ["--out", str(bench.out)]
        monkeypatch.setattr(sys, "argv", ["pagedbench", *argv])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert err.startswith("pagedbench: ")
        assert err.count("\n") == 1
        return err

    yield run
    backends.table.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "smolm2-135m"], "did you mean 'smollm2-135m'?"),
        (["--model", "nothing at all"], "there are: shape:gpt2, shape:llama-3.1-8b"),
        (["--model", "shape:llama-3.2-2b"], "did you mean 'shape:llama-3.2-1b'?"),
        (["--model", "shape:missing/config.json"], "or shape:PATH/config.json"),
        (["--model", ""], "no model ''"),
        (["--backend", "vlm"], "did you mean 'vllm'?"),
        (["--backend", "stub-elsewhere"], "no-such-package is not installed: run `make setup`"),
        (["--backend", "stub-untested"], "is not tested"),
        (["--backend", "stub-old"], '"Adding a backend" in docs/suites.md'),
        (["--device", "cuda"], "use --device cpu"),
        (["--device", "tpu"], "'auto', 'cpu', 'cuda'"),
        (["--dtype", "int8"], "'bfloat16', 'float16', 'float32'"),
        (["--repeats", "0"], "1<=x<=1000"),
        (["--repeats", "many"], "not a valid integer"),
        (["--interval", "10"], "write a number above zero and a unit"),
        (["--interval", "0ms"], "write a number above zero and a unit"),
        (["--interval", "-1ms"], "write a number above zero and a unit"),
        (["--interval", "1us"], "between 1 ms and 1 h"),
        (["--interval", "9" * 400 + "h"], "write a number above zero and a unit"),
        (["--modle", "x"], "Did you mean '--model'?"),
        (["--resume", "nowhere"], "--resume goes on with a run as it was begun"),
    ],
)  # fmt: skip
def test_arguments(bench, refused, arguments, says):
    assert says in refused("--suite", bench.suite(), *arguments)


def test_resume_of_what_is_no_run(bench, monkeypatch):
    done = bench.run("--resume", bench.home)
    assert (done.returncode, done.stderr) == (
        2, f"pagedbench: {bench.home}: no run to go on with here (no suite.json)\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("suite", "says"),
    [
        ("sead", "did you mean 'seed'?"),
        ("missing.toml", "cannot be read"),
        ("folder.toml", "cannot be read"),
        ("binary.toml", "cannot be read"),
        ("broken.toml", "not TOML"),
        ("deep.toml", "nested without end"),
    ],
)
def test_suites_that_cannot_be_read(bench, refused, suite, says):
    (bench.home / "folder.toml").mkdir()
    (bench.home / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (bench.home / "broken.toml").write_text('name = "x')
    (bench.home / "deep.toml").write_text("a = " + "[" * 9999)
    assert says in refused("--suite", suite)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modle": "x"}, "unknown key 'modle'; did you mean 'model'?"),
        ({"a\nb": 1}, r"unknown key 'a\nb'"),
        ({"workload": {**WORKLOAD, "promt": [1, 2]}}, "key 'promt'; did you mean 'prompt'?"),
        ({"workload": {**WORKLOAD, "kind": "unifrom"}}, "did you mean 'uniform'?"),
        ({"workload": {**WORKLOAD, "kind": ["uniform"]}}, "kind ['uniform']"),
        ({"workload": {"kind": "uniform"}}, "missing required field"),
        ({"workload": {**WORKLOAD, "requests": 0}}, "Expected `int` >= 1"),
        ({"workload": {**WORKLOAD, "prompt": [9, 3]}}, "the lower bound comes first"),
        ({"workload": 3}, "Expected `object`"),
        ({"workload": TEXTS}, "this model has no tokenizer"),
        ({"workload": {"kind": "mixed", "requests": 1, "prompt_mean": 1e300}}, "<= 1000000"),
        ({"workload": {"kind": "jsonl", "path": "missing"}}, "/missing': there is no such file"),
        ({"workload": {**WORKLOAD, "output": [600, 600]}}, "512 positions: shorten"),
        ({"backend": []}, "length >= 1"),
        ({"backend": "stub"}, "Expected `array`"),
        ({"backend": [{"name": "stub"}, {"name": "stub"}]}, "two backends are called 'stub'"),
        ({"backend": [{"name": "stub", "lable": "x"}]}, "did you mean 'label'?"),
        ({"backend": [{"name": "stub", "label": "../../x"}]}, "letters, digits"),
        ({"backend": [{"name": "stub", "label": ".."}]}, "no dot first"),
        ({"backend": [{"name": "stub", "python": "/no/python"}]}, "cannot be run"),
        ({"name": "../escape"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"repeats": 1001}, "<= 1000"),
        ({"seed": "one"}, "Expected `int`"),
        ({"device": "gpu"}, "Invalid enum value 'gpu'"),
        ({"timeout": "soon"}, "suite.toml: timeout: duration 'soon'"),
        ({"budget": "1 fortnight"}, "suite.toml: budget: duration '1 fortnight'"),
        ({"budget": "0s"}, "suite.toml: budget: duration '0s': write a number above zero"),
        ({"concurrency": 0}, "Expected `int` >= 1"),
        ({"kv_budget": "2 PiB"}, "suite.toml: kv_budget: size '2 PiB'"),
        ({"kv_budget": "0GiB"}, "size '0GiB'"),
        ({"kv_budget": "9" * 400}, "write it as 2GiB"),
        ({"sweep": {"policies": ["paged"]}}, "key 'policies'; did you mean 'policy'?"),
        ({"sweep": {"policy": ["reserve-maxx"]}}, "did you mean 'reserve-max'?"),
        ({"sweep": {"policy": ["paged"]}}, "[sweep]: no backend here changes within one engine"),
        ({"sweep": {"kv_budget": ["1GiB", "lots"]}, "backend": [{"name": "vllm"}]},
         "[sweep] kv_budget: size 'lots': write it as 2GiB, 512MiB, 65536 tokens"),
        ({"sweep": {"policy": ["paged", "paged"]}, "backend": [{"name": "vllm"}]}, "given twice"),
        ({"sweep": {"policy": ["paged"]},
          "backend": [{"name": "vllm", "options": {"policy": "reserve-max"}}]},
         "vllm: policy is swept: leave the option out"),
        ({"max_length": 1}, "Expected `int` >= 2"),
        ({"max_length": 513}, "max_length 513 is above the 512 positions of this model"),
    ],
)  # fmt: skip
def test_suites_that_make_no_sense(bench, refused, changes, says):
    assert says in refused("--suite", suite_file(bench, changes))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"step": 1}, "no option 'step'; did you mean 'step_s'?"),
        ({"step_s": "fast"}, "step_s = 'fast' must be a number"),
        ({"step_s": True}, "step_s = True must be a number"),
        ({"step_s": -1}, "step_s = -1 must be at least 0"),
        ({"step_s": "NAN"}, "step_s = nan must be a number"),
        ({"act": "dance"}, "act = 'dance' is none of kill, memory"),
        ({"hold": 3}, "hold = 3 must be a text"),
    ],
)
def test_options_of_a_backend(bench, refused, options, says):
    path = bench.suite(options)
    path.write_text(path.read_text().replace('"NAN"', "nan"))
    assert says in refused("--suite", path)


def test_a_request_that_does_not_fit(bench, refused):
    spec = {"kind": "shared-prefix", "requests": 1, "prefix": 600}
    line = refused("--suite", suite_file(bench, {"workload": spec}))
    assert "max_length is 512: the model has 512 positions: shorten the request" in line


def test_model_folders_that_are_damaged(bench, refused):
    """Found out before any engine starts; each says which file."""
    suite = bench.suite()
    for folder, says in damaged_models(bench.home / "models"):
        bench.out = bench.home / f"run-{folder.name}"
        line = refused("--suite", suite, "--model", folder)
        assert says in line, folder.name
        assert str(folder) in line


@pytest.mark.parametrize(
    "config", ["", "[]", "{", "{}", '{"hidden_size": "x"}', "\xff", "[" * 9999]
)
def test_shapes_that_are_none(bench, refused, config):
    path = bench.home / "odd.json"
    path.write_bytes(config.encode("latin-1"))
    line = refused("--suite", bench.suite(), "--model", f"shape:{path}")
    assert "odd.json" in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sliding_window": 128}, "sliding_window 128 is under max_length 512"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"text_config": SHAPE}, "use a text-only model"),
        (
            {"max_position_embeddings": 10**400, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "not a decoder model's configuration",
        ),
        ({"is_encoder_decoder": True}, "use a model that is a decoder only"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "not a model that generates"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config (gptq)"),
    ],
)
def test_models_whose_cache_is_another(bench, refused, changes, says):
    path = bench.home / "other.json"
    path.write_text(json.dumps({**SHAPE, **changes}))
    line = refused("--suite", bench.suite(), "--model", f"shape:{path}")
    assert says in line
    assert "other.json: " in line


def test_an_existing_folder_is_left_as_it_is(bench, refused):
    bench.out.mkdir()
    (bench.out / "result.json").write_text("precious")
    assert "exists already" in refused("--suite", bench.suite())
    assert [path.name for path in bench.out.iterdir()] == ["result.json"]
    assert (bench.out / "result.json").read_text() == "precious"


def test_folders_that_cannot_be_written(bench, refused):
    (bench.home / "file").touch()
    line = refused("--suite", bench.suite(), "--out", bench.home / "file" / "run")
    assert "cannot be written (Not a directory)" in line
    line = refused("--suite", bench.suite(), "--out", Path("/proc/run"))
    assert "/proc/run: cannot be written" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(bench, refused):
    bench.home.joinpath("closed").mkdir(mode=0o500)
    line = refused("--suite", bench.suite(), "--out", bench.home / "closed" / "run")
    assert "Permission denied" in line


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere:ROW", "does not load (No module named 'nowhere')"),
        ("json:loads", "is no orchestrator.backends.Backend"),
    ],
)
def test_an_entry_point_that_is_broken(bench, refused, monkeypatch, target, says):
    package = bench.home / "site" / "broken-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[pagedbench.backends]\nbroken = {target}\n")
    monkeypatch.syspath_prepend(str(package.parent))
    line = refused("--suite", bench.suite())
    assert target in line
    assert says in line


def test_the_real_command_says_it_in_one_line_too(bench):
    done = bench.run("--quiet", "--suite", bench.suite(), "--out", bench.out, "--device", "cuda")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def suite_file(bench, changes):
    path = bench.suite()
    return bench.suite(**changes) if not {"a\nb"} & changes.keys() else strange_key(path, changes)


def strange_key(path, changes):
    lines = "".join(f"{json.dumps(key)} = {value}\n" for key, value in changes.items())
    path.write_text(lines + path.read_text())
    return path


def damaged_models(home):
    """Yield model folders with something wrong, and what the line must say."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    whole = struct.pack("<Q", len(header)) + header + bytes(16)
    config = json.dumps(SHAPE).encode()
    cases = {
        "no-weights": ({"config.json": config}, "no weights"),
        "no-config": ({"model.safetensors": whole}, "config.json: cannot be read"),
        "truncated": ({"config.json": config, "model.safetensors": whole[:-1]}, "cut short"),
        "only-begun": ({"config.json": config, "model.safetensors": b"\1"}, "cut short"),
        "no-header": ({"config.json": config, "model.safetensors": bytes(99)}, "cut short"),
        "one-of-two": (
            {"config.json": config, "a.safetensors": whole, "b.safetensors": whole[:40]}, "b.safet",
        ),
        "bad-config": ({"config.json": b"{]", "model.safetensors": whole}, "not a decoder model"),
        "bad-tokenizer": (
            {"config.json": config, "model.safetensors": whole, "tokenizer.json": b"{"},
            "tokenizer.json: not a tokenizer",
        ),
    }  # fmt: skip
    for name, (files, says) in cases.items():
        (home / name).mkdir(parents=True)
        for file, content in files.items():
            (home / name / file).write_bytes(content)
        yield home / name, says
