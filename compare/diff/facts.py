"""What must be the same for two results to be compared, and what had better be.

*refuse*: another experiment; the numbers do not belong on one scale. *warn*: the same experiment
in another environment; it is compared, and gates only when the user says that this difference is
what he measures. What makes a single run doubtful (clocks, temperature, other processes) is not
here but in each cell's `suspect`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from compare.diff.outcome import Mismatch, Treatment
from measure.result import Result
from traces.errors import Problem
from traces.records import FreeForm

Aspect = Callable[[Result], Any]

_SETTING = re.compile(
    r"(?!\w*VISIBLE_DEVICES)((NCCL|VLLM|TORCH|PYTORCH|TRITON|OMP|MKL|KMP|FLASHINFER|CUDA)_|LD_PRELOAD)"
)


def part(result: Result, *path: str) -> Any:
    """Look up a path in the environment; None where it does not lead anywhere."""
    value: Any = result.environment
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def model(result: Result) -> str:
    """The model by its content, whatever it is called; a shape, without weights, by its name."""
    m = result.model
    known = m.sha256[:12] if m.sha256 else m.name
    return f"{known}: {m.layers} layers, {m.kv_heads} KV heads of {m.head_dim}"


def workload(result: Result) -> str:
    """The requests by their content."""
    w = result.workload
    tokens = f"{w.prompt_tokens} + {w.output_tokens} tokens"
    return f"{w.sha256[:12]}: {w.requests} requests, {tokens}"


def gpus(result: Result) -> str:
    """The GPU models and how many of each."""
    listed = part(result, "gpus")
    names = sorted(str(gpu.get("name")) for gpu in _dicts(listed))
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "none"


def cpu(result: Result) -> str:
    """The CPU's name and size; not its clock, which moves."""
    return f"{part(result, 'cpu', 'model')}, {part(result, 'cpu', 'cores')} cores"


def cpu_features(result: Result) -> str | None:
    """What the processor of a CPU run can do; None in results from before that was written down."""
    found = part(result, "cpu", "features")
    return " ".join(map(str, found)) if isinstance(found, list) and result.device == "cpu" else None


def processor(result: Result) -> str:
    """What ran the model."""
    return gpus(result) if result.device == "cuda" else cpu(result)


def power_limit(result: Result) -> str:
    """The power limits, where the sampler could read them."""
    return ", ".join(str(gpu.get("power_limit")) for gpu in _dicts(part(result, "gpus")))


def settings(result: Result) -> str:
    """What the suite fixes beside workload and backends, and that changes the numbers."""
    names = ("max_length", "kv_budget", "budget", "trust_remote_code")
    given = ((name, result.suite.get(name)) for name in names)
    return ", ".join(f"{name} {value}" for name, value in given if value) or "none"


def variables(result: Result) -> str:
    """The engines' settings in the workers' environment."""
    passed = part(result, "worker_environment")
    named = sorted(passed.items()) if isinstance(passed, dict) else []
    return " ".join(f"{name}={value}" for name, value in named if _SETTING.match(name))


def _dicts(listed: Any) -> Iterator[FreeForm]:
    return (entry for entry in (listed if isinstance(listed, list) else []) if type(entry) is dict)


REFUSE: dict[str, Aspect] = {
    "workload": workload,
    "model": model,
    "same weights": lambda r: r.model.same_weights,
    "dtype": lambda r: r.dtype,
    "settings": settings,
    "device": lambda r: r.device,
    "processor": processor,
}
WARN: dict[str, Aspect] = {
    "driver": lambda r: part(r, "driver"),
    "cuda": lambda r: part(r, "cuda"),
    "power-limit": power_limit,
    "cpu": lambda r: cpu(r) if r.device == "cuda" else None,
    "cpu-features": cpu_features,
    "os": lambda r: part(r, "os"),
    "interval": lambda r: r.suite.get("interval"),
    "variables": variables,
}


def same_experiment(result: Result) -> tuple[str, ...]:
    """What two results must share to be compared at all: a key for grouping them."""
    return tuple(str(fact(result)) for fact in REFUSE.values())


def environment(result: Result) -> dict[str, str]:
    """Every part of the environment that should be named when it changes, and that is known."""
    facts = {**WARN, **{name: _version(name) for name in _packages(result)}}
    known = ((name, fact(result)) for name, fact in facts.items())
    return {name: str(value) for name, value in known if value not in (None, "")}


def mismatches(base: Result, head: Result, vary: Iterable[str] = ()) -> list[Mismatch]:
    """List what differs, the grave ones first. Raises Problem for a `vary` that names nothing."""
    warn = {**WARN, **{name: _version(name) for name in _packages(base, head)}}
    varied = set(vary)
    for name in sorted(varied - set(warn)):
        near = get_close_matches(name, warn, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(warn)}"
        raise Problem(f"--vary {name}: no such part of the environment: {hint}")
    refused = _differing(REFUSE, "refuse", base, head)
    return refused + _differing(warn, "warn", base, head, varied)


def _differing(
    facts: dict[str, Aspect],
    treatment: Treatment,
    base: Result,
    head: Result,
    varied: Iterable[str] = (),
) -> list[Mismatch]:
    pairs = ((name, fact(base), fact(head)) for name, fact in facts.items())
    return [
        Mismatch(
            name=name, treatment=treatment, base=_said(one), head=_said(two), varied=name in varied
        )
        for name, one, two in pairs
        if one != two
    ]


def _said(value: Any) -> str:
    return "unknown" if value is None else str(value)


def _packages(*results: Result) -> list[str]:
    names: set[str] = set()
    for result in results:
        versions = part(result, "versions")
        names |= set(versions) if isinstance(versions, dict) else set()
    return sorted(names)


def _version(name: str) -> Aspect:
    return lambda r: part(r, "versions", name)
