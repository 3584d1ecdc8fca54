"""`vllm bench throughput` beside our vllm backend: the same work, every run in a fresh process.

Theirs is the public command, with flags made from the arguments that our backend gives to LLM(),
so that the two cannot drift apart. It times generate() alone and counts prompt tokens too; taken
here are its seconds and the output tokens. Ours is workers.loop, as a run starts it; taken is the
run phase, which also makes the settings and records the requests. What is left of difference:
theirs turns its prompts from text into ids and shows a progress bar; ours records.
"""

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.engines.arms import OVER, turns
from benchmarks.engines.process import Prepared, converse, prepare, show
from benchmarks.engines.table import Run
from orchestrator import environment
from orchestrator.backends import installed
from orchestrator.log_file import tail
from orchestrator.models import BUNDLED
from orchestrator.supervise import Child, command
from traces.errors import Problem
from traces.job import Job
from traces.messages import Done, Go, Message, Ready
from traces.reader import read
from traces.records import Phase, Request
from traces.workload import Uniform
from workers import vllm_arguments

PROMPT = (32, 32)  # the command draws prompts of one length
TRIAL_TOKENS = 64
WARMUPS = 2  # requests before the clock starts, as our loop has them
OURS = {  # what our backend adds, or what the command does by itself
    "skip_tokenizer_init", "disable_log_stats", "worker_extension_cls", "worker_cls",
    "scheduler_cls", "additional_config",
}  # fmt: skip
LATE_S = 900.0

MakeReady = Callable[[int], Prepared]
MakeJob = Callable[[str, Prepared], Job]


def measure(
    make_ready: MakeReady, make_job: MakeJob, seconds: float, repeats: int
) -> dict[str, Any]:
    """Run both in turn. A run of ours before shows how much work takes the seconds asked for."""
    trial = make_job("bench-trial", make_ready(TRIAL_TOKENS))
    room = trial.max_length - PROMPT[1]
    output = max(1, min(room, _output_for(seconds * OVER, *_run_of_ours(trial))))
    tokenizer, ready = _tokenizer(trial), make_ready(output)
    runs = []
    for number, arm in enumerate(turns(repeats)):
        job = make_job(f"bench-{number:02d}", ready)
        runs.append(show(theirs(job, tokenizer) if arm == "a" else ours(job)))
    return {"runs": runs, "facts": {"command": _shown(_argv(job, tokenizer))}}


def ours(job: Job) -> Run:
    """One cell, as a run has it, but for the sampler."""
    seconds, requests = _run_of_ours(job)
    return Run("b", seconds, sum(request.output_tokens for request in requests))


def _run_of_ours(job: Job) -> tuple[float, list[Request]]:
    """Start a worker process; return the seconds of its run phase, and its requests."""

    def heard(message: Message, child: Child) -> None:
        if isinstance(message, Ready):
            child.send(Go())

    sampling = msgspec.structs.replace(job, module="benchmarks.engines.sampling")
    converse("workers.loop:main", sampling, Path(job.folder, "log.txt"), Done, heard)
    edges: dict[str, int] = {}
    requests = []
    for record in read(Path(job.folder, "worker.jsonl")):
        if isinstance(record, Phase) and record.name == "run":
            edges[record.edge] = record.t
        elif isinstance(record, Request) and "begin" in edges:
            requests.append(record)
    return (edges["end"] - edges["begin"]) / 1e9, requests


def _output_for(seconds: float, took: float, requests: list[Request]) -> int:
    """Return the output tokens a request that take some seconds, from a trial of few.

    All requests run together, so its time is a start (the prompts) and so much for each token.
    """
    first = max(request.first or 0 for request in requests)
    last = max(request.last or 0 for request in requests)
    token = (last - first) / 1e9 / (TRIAL_TOKENS - 1)
    return round((seconds - (took - token * TRIAL_TOKENS)) / token)


def theirs(job: Job, tokenizer: str) -> Run:
    """One run of the command; it must have done what ours does, to the token."""
    folder, log = Path(job.folder), Path(job.folder, "log.txt")
    code = command(_argv(job, tokenizer), env=_environment(job, folder), log=log, timeout=LATE_S)
    out = folder / "bench.json"
    if code or not out.exists():
        raise Problem(f"vllm bench throughput: exit code {code}\n" + "\n".join(tail(log)))
    found = json.loads(out.read_text())
    requests, output = _work(job)
    tokens, expected = found["total_num_tokens"], requests * (PROMPT[1] + output)
    if found["num_requests"] != requests or tokens != expected:
        raise Problem(f"vllm bench throughput did {tokens} tokens where ours does {expected}")
    return Run("a", found["elapsed_time"], requests * output)


def _work(job: Job) -> tuple[int, int]:
    requests = msgspec.json.decode(Path(job.workload).read_bytes())["requests"]
    return len(requests), requests[0]["output_tokens"]


def _argv(job: Job, tokenizer: str) -> list[str]:
    """The command with our backend's settings as flags."""
    requests, output = _work(job)
    flags = {
        "tokenizer": tokenizer, "dataset-name": "random",
        "random-input-len": PROMPT[1], "random-output-len": output, "num-prompts": requests,
        "num-warmups": WARMUPS, "disable-detokenize": True,
        "output-json": str(Path(job.folder, "bench.json")),
    }  # fmt: skip
    for name, value in vllm_arguments.of(job).items():
        if name not in OURS:
            flags[name.replace("_", "-")] = value
    argv = [sys.executable, "-m", "vllm.entrypoints.cli.main", "bench", "throughput"]
    for name, value in flags.items():
        if isinstance(value, bool):
            argv.append(f"--{name}" if value else f"--no-{name}")
        else:
            argv += [f"--{name}", str(value)]
    return argv


def _shown(argv: list[str]) -> list[str]:
    """The command without the paths of this machine."""
    return [Path(each).name if each.startswith("/") else each for each in argv]


def _tokenizer(job: Job) -> str:
    """The command makes prompts of text: a shape without a tokenizer borrows the bundled one's."""
    if Path(job.model, "tokenizer.json").exists():
        return job.model
    spec = Uniform(requests=1, prompt=(1, 1), output=(1, 1))
    return prepare(next(iter(BUNDLED)), "tokenizer", spec, 16, Path(job.folder)).folder


def _environment(job: Job, folder: Path) -> dict[str, str]:
    """As our worker's: the same allow-list, and the same choice of the engine's process."""
    variables = environment.for_worker()
    variables.pop("VLLM_CPU_KVCACHE_SPACE", None)
    own_process = job.options.get("engine_process", job.device == "cuda")
    variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1" if own_process else "0"
    if not _named():
        variables["PYTHONPATH"] = os.pathsep.join(
            [str(_name(folder)), *filter(None, [variables.get("PYTHONPATH")])]
        )
    return variables


def _named() -> bool:
    try:
        return bool(importlib.metadata.version("vllm"))
    except importlib.metadata.PackageNotFoundError:
        return False


def _name(folder: Path) -> Path:
    """The command asks for the version of a package "vllm": vllm-cpu 0.32 has another name."""
    place = folder / "named"
    about = place / f"vllm-{installed('vllm-cpu')}+cpu.dist-info"
    about.mkdir(parents=True)
    version = f"Version: {installed('vllm-cpu')}+cpu"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\n{version}\n")
    return place
