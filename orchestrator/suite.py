"""Suites: TOML files that say what to run. One frozen, validated description, or one clear line.

A suite is a name of one that comes with pagedbench (`seed`, ...) or a path to a file.
"""

import os
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from orchestrator import backends, models
from orchestrator.sizes import size
from orchestrator.suggestion import suggestion
from traces import duration, workload
from traces.errors import Problem
from traces.job import Options
from traces.policy import POLICIES, Policy

Table = dict[str, Any]
"""A suite, or a part of one, as it is written: not yet checked."""
HERE = Path(__file__).parent / "suites"
SWEEPS = ("vllm",)
"""Backends that can be changed within one engine."""


class Entry(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One [[backend]]: which, under what label, with what options."""

    name: str
    label: str | None = None
    options: Options = field(default_factory=dict)
    python: str | None = None
    """Another interpreter to run it with, where engines need different packages."""

    @property
    def title(self) -> str:
        return self.label or self.name


class Sweep(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What is changed between run windows in one engine: every policy with every KV budget."""

    policy: list[Policy] = []
    kv_budget: list[str] = []


class Suite(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A whole suite. Durations read "10ms" or "5m", sizes "2GiB"."""

    name: str
    about: str = ""
    model: str = "smollm2-135m"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    repeats: Annotated[int, Meta(ge=1, le=1000)] = 1
    seed: int = 0
    interval: str = "10ms"
    timeout: str = "30m"
    budget: str | None = None
    concurrency: Annotated[int, Meta(ge=1)] | None = None
    kv_budget: str | None = None
    max_length: Annotated[int, Meta(ge=2)] | None = None
    trust_remote_code: bool = False
    workload: workload.AnySpec
    sweep: Sweep = Sweep()
    backend: Annotated[list[Entry], Meta(min_length=1)]

    @property
    def budget_s(self) -> float | None:
        return None if self.budget is None else duration.parse(self.budget)

    def kv_budgets(self, bytes_per_token: int) -> list[int]:
        """Return the KV budgets in bytes, the suite's own or those that are swept; none: no limit.

        A budget in tokens is the bytes of so many, for the model it is asked of.
        """
        own = [] if self.kv_budget is None else [self.kv_budget]
        return [size(text, bytes_per_token) for text in self.sweep.kv_budget or own]


_QUANTITIES: dict[str, Callable[[str], float]] = {
    "interval": duration.parse, "timeout": duration.parse, "budget": duration.parse,
    "kv_budget": lambda text: size(text, bytes_per_token=1),
}  # fmt: skip


def names() -> list[str]:
    """Return the suites that come with pagedbench."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def load(name: str) -> Suite:
    """Read a suite by name or path and check all of it. Raises Problem."""
    path = HERE / f"{name}.toml"
    if not path.exists():
        path = Path(os.path.expanduser(name))  # noqa: PTH111  which raises for a user unknown
        if path.suffix != ".toml":
            raise Problem(
                f"no suite {name!r}{suggestion(name, names())} (or a path to a .toml file)"
            )
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"suite {path}: cannot be read ({error})") from None
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"suite {path}: not TOML: {error}") from None
    except RecursionError:
        raise Problem(f"suite {path}: not a suite: nested without end") from None
    return parse(_placed(data, path.absolute().parent), str(path))


def _placed(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a suite's data with its paths, which are of the suite's folder, made absolute."""
    workload, model = data.get("workload"), data.get("model")
    if isinstance(workload, dict) and isinstance(path := workload.get("path"), str):
        data = {**data, "workload": {**workload, "path": str(_place(path, folder))}}
    if isinstance(model, str):
        kind = "shape:" if model.startswith("shape:") else ""
        place = _place(model.removeprefix(kind), folder)
        ours = model in models.BUNDLED or model in models.shapes()
        if not ours and model.removeprefix(kind) and place.exists():
            data = {**data, "model": f"{kind}{place}"}
    return data


def _place(path: str, folder: Path) -> Path:
    return folder / os.path.expanduser(path)  # noqa: PTH111


def parse(data: Table, where: str) -> Suite:
    """Check a suite given as plain data, and return it. Raises Problem, naming the nearest key."""
    _known(data, Suite, where)
    if isinstance(data.get("sweep"), dict):
        _known_sweep(data["sweep"], where)
    for entry in data.get("backend", []) if isinstance(data.get("backend"), list) else []:
        if isinstance(entry, dict):
            _known(entry, Entry, f"{where}: [[backend]]")
    if isinstance(data.get("workload"), dict):
        _known_workload(data["workload"], where)
    try:
        suite = msgspec.convert(data, Suite)
    except msgspec.ValidationError as error:
        raise Problem(f"suite {where}: {error}") from None
    _check(suite, where)
    return suite


def _check(suite: Suite, where: str) -> None:
    _check_name(suite.name, "name", where)
    _check_ranges(suite.workload, where)
    for entry in suite.backend:
        backends.find(entry.name, where).check(entry.options, f"{where}: {entry.title}")
        _check_name(entry.title, "label", where)
        if entry.python and not shutil.which(entry.python):
            raise Problem(f"{where}: {entry.title}: python = {entry.python!r} cannot be run")
    titles = [entry.title for entry in suite.backend]
    for title in titles:
        if titles.count(title) > 1:
            raise Problem(f"{where}: two backends are called {title!r}: give one a label")
    for key, parse in _QUANTITIES.items():
        if (text := getattr(suite, key)) is not None:
            try:
                parse(text)
            except Problem as problem:
                raise Problem(f"{where}: {key}: {problem}") from None
    _check_sweep(suite, where)
    path = getattr(suite.workload, "path", None)
    if path is not None and not Path(path).is_file():
        raise Problem(f"{where}: [workload] path = {path!r}: there is no such file")


def _check_name(name: str, what: str, where: str) -> None:
    """Names become names of files."""
    if not re.fullmatch(r"[\w.+-]{1,60}", name) or name.startswith("."):
        raise Problem(f"{where}: {what} {name!r}: letters, digits and . _ + - only, no dot first")


def _check_ranges(spec: workload.AnySpec, where: str) -> None:
    for name in spec.__struct_fields__:
        value = getattr(spec, name)
        if isinstance(value, tuple) and value[0] > value[1]:
            raise Problem(
                f"{where}: [workload] {name} = {list(value)}: the lower bound comes first"
            )


def _known(data: Table, kind: type[Struct], where: str) -> None:
    names = [f.encode_name for f in msgspec.structs.fields(kind)]
    for key in data:
        if key not in names:
            raise Problem(f"{where}: unknown key {key!r}{suggestion(key, names)}")


def _known_sweep(data: Table, where: str) -> None:
    """Name the nearest policy where one is wrong."""
    _known(data, Sweep, f"{where}: [sweep]")
    asked = data.get("policy")
    for policy in asked if isinstance(asked, list) else []:
        if policy not in POLICIES:
            near = suggestion(str(policy), POLICIES)
            raise Problem(f"{where}: [sweep] policy {policy!r}{near}")


def _check_sweep(suite: Suite, where: str) -> None:
    if not (suite.sweep.policy or suite.sweep.kv_budget):
        return
    swept = [entry for entry in suite.backend if entry.name in SWEEPS]
    if not swept:
        raise Problem(f"{where}: [sweep]: no backend here changes within one engine: {SWEEPS}")
    for entry in swept:
        if suite.sweep.policy and "policy" in entry.options:
            raise Problem(f"{where}: {entry.title}: policy is swept: leave the option out")
    for text in suite.sweep.kv_budget:
        try:
            size(text, bytes_per_token=1)
        except Problem as problem:
            raise Problem(f"{where}: [sweep] kv_budget: {problem}") from None
    for name in ("policy", "kv_budget"):
        values = getattr(suite.sweep, name)
        if len(set(values)) < len(values):
            raise Problem(f"{where}: [sweep] {name}: a value is given twice")


def _known_workload(data: Table, where: str) -> None:
    kinds = {str(k.__struct_config__.tag): k for k in _kinds()}
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise Problem(f"{where}: [workload] kind {kind!r}{suggestion(str(kind), kinds)}")
    rest = {key: value for key, value in data.items() if key != "kind"}
    _known(rest, kinds[kind], f"{where}: [workload]")


def _kinds() -> Iterator[type[Struct]]:
    yield from workload.AnySpec.__args__
