"""What a worker process is given and holds: no secrets, no orchestrator, nothing heavy."""

import json
import subprocess
import sys

import pytest

from orchestrator import environment
from tests.orchestrator.bench import ROOT
from traces.records import Facts

SECRETS = {
    "HF_TOKEN": "hf_VERYSECRET1", "AWS_SECRET_ACCESS_KEY": "VERYSECRET2",
    "VLLM_API_KEY": "VERYSECRET3", "OPENAI_API_KEY": "VERYSECRET4",
    "HF_HUB_PASSWORD": "VERYSECRET5", "UNRELATED": "VERYSECRET6", "TORCH_AUTH": "VERYSECRET7",
    "HF_ENDPOINT": "https://me:VERYSECRET8@example.org",
}  # fmt: skip
SETTINGS = {"VLLM_LOGGING_LEVEL": "ERROR", "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""}
ENGINES = {"torch", "transformers", "vllm", "numpy", "scipy", "plotly", "tokenizers"}
NOT_OURS = {
    "orchestrator",
    "measure",
    "compare",
    "report",
    "monitor",
    "pynvml",
    "click",
    "rich",
    "psutil",
    "jinja2",
}
BACKENDS = ["hf_sequential", "hf_static", "hf_batched", "hf_paged", "vllm_engine"]


@pytest.fixture(scope="module")
def run(shared_bench):
    shared_bench.environment |= SECRETS | SETTINGS
    done = shared_bench.run("--suite", shared_bench.suite(), "--out", shared_bench.out)
    assert done.returncode == 0, done.stderr
    shared_bench.done = done
    facts = [r.values for r in shared_bench.trace("stub0.r0") if isinstance(r, Facts)]
    shared_bench.facts = {name: value for values in facts for name, value in values.items()}
    return shared_bench


def test_the_environment_is_an_allow_list(run):
    passed = set(run.facts["environment"])
    assert passed >= SETTINGS.keys() | {"PATH", "HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"}
    assert not passed & (SECRETS.keys() - {"HF_ENDPOINT"})


def test_settings_are_recorded_and_secrets_nowhere(run):
    recorded = run.result()["environment"]["worker_environment"]
    assert recorded.items() >= SETTINGS.items()
    assert "HF_ENDPOINT" not in recorded
    assert not {"PATH", "HOME", "PYTHONPATH"} & recorded.keys()
    for path in run.out.rglob("*"):
        assert path.is_dir() or b"VERYSECRET" not in path.read_bytes(), path
    assert "VERYSECRET" not in run.done.stdout + run.done.stderr


def test_only_the_process_that_downloads_gets_everything(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "x")
    monkeypatch.setenv("HTTPS_PROXY", "y")
    assert environment.for_worker(online=True).items() >= {("HF_TOKEN", "x"), ("HTTPS_PROXY", "y")}
    assert "HF_HUB_OFFLINE" not in environment.for_worker(online=True)
    assert not {"HF_TOKEN", "HTTPS_PROXY"} & environment.for_worker().keys()


@pytest.mark.parametrize(
    ("name", "passes"),
    [
        ("TOKENIZERS_PARALLELISM", True),
        ("NCCL_DEBUG", True),
        ("LD_LIBRARY_PATH", True),
        ("HF_TOKEN_PATH", False),
        ("TRANSFORMERS_SECRET", False),
        ("NVIDIA_API_KEY", False),
        ("HTTP_PROXY", False),
        ("XPATH", False),
        ("PATHX", False),
    ],
)
def test_what_passes(monkeypatch, name, passes):
    monkeypatch.setenv(name, "value of ours")
    assert (environment.for_worker().get(name) == "value of ours") == (
        passes and name != "TOKENIZERS_PARALLELISM"  # which is always false
    )
    assert (name in environment.for_worker()) == passes


def test_before_its_engine_loads_a_worker_holds_nothing_but_its_own_rooms(run):
    held = set(run.facts["modules_before_engine"])
    assert held >= {"workers", "traces", "pagedbench_stub"}
    assert not held & (NOT_OURS | ENGINES)


@pytest.mark.parametrize("module", BACKENDS)
def test_a_backends_module_imports_nothing_heavy(module):
    code = f"import sys, json, workers.loop, workers.{module}; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    held = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not held & (NOT_OURS | ENGINES)


def test_preparing_a_shape_takes_no_engine(run):
    """A shape has no tokenizer and no weights: torch would cost seconds for nothing."""
    code = (
        "import sys, json, workers.prepare, workers.tokenizer;"
        "from pathlib import Path; workers.tokenizer.load(Path('tests'));"
        "print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {name.partition(".")[0] for name in json.loads(done.stdout)} & ENGINES


def test_a_backend_can_have_an_interpreter_of_its_own(bench):
    other = bench.home / "python"
    other.write_text(f'#!/bin/sh\nOTHER_PYTHON=1 exec {sys.executable} "$@"\n')
    other.chmod(0o755)
    backend = {"name": "stub", "python": str(other)}
    done = bench.run("--quiet", "--suite", bench.suite(backend=[backend]), "--out", bench.out)
    assert done.returncode == 0, done.stderr
    facts = [r.values for r in bench.trace("stub.r0") if isinstance(r, Facts)]
    assert "OTHER_PYTHON" in facts[-1]["environment"]
