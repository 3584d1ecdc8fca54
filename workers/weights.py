"""A model folder's weights: whether they are all there and whole, and their hash.

Whatever is missing is told before an engine starts: each would fail in its own words, or go on
with tensors made up.
"""

import hashlib
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from traces.errors import Problem
from workers.sizes import ModelConfig

PATTERNS = ("*.safetensors", "pytorch_model*.bin")
INDEXES = {
    ".safetensors": "model.safetensors.index.json",
    ".bin": "pytorch_model.bin.index.json",
}
MAX_HEADER = 100_000_000  # what the safetensors library takes
POINTER = b"version https://git-lfs"  # what Git leaves in place of a large file
AGAIN = "fetch or convert the model again"

Header = dict[str, dict[str, Any]]
"""What a safetensors file says of each tensor, by its name."""


def check(folder: Path) -> None:
    """Raise Problem for a folder whose weights are missing, cut short, or stand-ins."""
    found = files(folder)
    if not found:
        raise Problem(f"{folder}: no weights (*.safetensors) in this model folder")
    for path in found:
        if not path.exists():
            raise Problem(f"{path}: a link to nothing: {AGAIN}")
        with path.open("rb") as stream:
            if stream.read(len(POINTER)) == POINTER:
                raise Problem(f"{path}: a Git LFS pointer, not the weights: run `git lfs pull`")
        if path.suffix == ".safetensors" and _whole(path) is None:
            raise Problem(f"{path}: cut short or damaged: {AGAIN}")
        if not path.stat().st_size:
            raise Problem(f"{path}: empty: {AGAIN}")
    form = found[0].suffix  # safetensors where there are both: engines prefer them
    index = folder / INDEXES[form]
    if index.exists():
        _check_shards(index)
    elif parts := [path for path in found if path.suffix == form and "-of-" in path.name]:
        raise Problem(f"{parts[0]}: one of several, and no {index.name} beside it: {AGAIN}")


def files(folder: Path) -> list[Path]:
    """Return the files of weights; an adapter's are none."""
    found = [path for pattern in PATTERNS for path in sorted(folder.glob(pattern))]
    return [path for path in found if not path.name.startswith("adapter_")]


def check_head(folder: Path, config: ModelConfig) -> None:
    """Raise Problem where the output layer is missing: each process would make up another one."""
    tied = config.get("tie_word_embeddings", config.get("model_type") in ("gpt2", "opt"))
    if tied or config.get("quantization_config"):
        return
    headers = [_whole(path) for path in folder.glob("*.safetensors")]
    shapes = [tensor.get("shape") for header in headers for tensor in (header or {}).values()]
    as_long = [shape for shape in shapes if shape and shape[0] == config["vocab_size"]]
    if len(as_long) == 1 and len(as_long[0]) == 2:
        raise Problem(
            f"{folder}: embeddings, but no output layer in its weights, and tie_word_embeddings is "
            "false: use a model saved with its head (...ForCausalLM)"
        )


def elements(folder: Path) -> int | None:
    """Return how many numbers the weights are; None where their files do not tell."""
    headers = [_whole(path) for path in files(folder) if path.suffix == ".safetensors"]
    shapes = [tensor["shape"] for header in headers for tensor in (header or {}).values()]
    return sum(map(math.prod, shapes)) or None


def remembered_hash(folder: Path, cache: Path) -> str:
    """Hash configuration and weights; remembered by size and time, for large models take long."""
    hashed = sorted([folder / "config.json", *files(folder)])
    stamp = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in hashed]
    key = hashlib.sha256(json.dumps([str(folder), stamp]).encode()).hexdigest()[:24]
    remembered = cache / key
    if remembered.exists():
        return remembered.read_text()
    whole = hashlib.sha256("".join(sha256(path) for path in hashed).encode()).hexdigest()
    with suppress(OSError):  # a cache that cannot be written costs time, no run
        cache.mkdir(parents=True, exist_ok=True)
        remembered.write_text(whole)
    return whole


def sha256(path: Path) -> str:
    """Return a file's hash."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_shards(index: Path) -> None:
    try:
        names = {str(name) for name in json.loads(index.read_bytes())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem(f"{index}: damaged: {AGAIN}") from None
    if missing := sorted(name for name in names if not (index.parent / name).exists()):
        raise Problem(
            f"{index}: names {missing[0]}, which is not here ({len(missing)} of {len(names)} files "
            f"are missing): {AGAIN}"
        )


def _whole(path: Path) -> Header | None:
    """Return what a safetensors file says of its tensors; None when it is not as long as that.

    It is 8 bytes with the header's length, the header as JSON, and the data.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(path.stat().st_size, MAX_HEADER):
            return None
        try:
            header: Header = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
    return header if path.stat().st_size == 8 + length + max(ends, default=0) else None
