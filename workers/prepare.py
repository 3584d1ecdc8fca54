"""Make ready what all cells share: the model's folder and the token ids. Runs in its own process.

The bundled model is a GGUF file inside an installed package; it is converted once into the
user's cache. Writes workload.json in the run's folder and tells the orchestrator what the model
is. Nothing is downloaded unless the user named a Hub id.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from traces.control import Channel
from traces.errors import Problem
from traces.messages import Failed, Phase
from traces.preparing import Preparation, Prepared, Requests, Shape
from workers import supported, workloads
from workers.supported import ModelConfig

WEIGHTS = ("*.safetensors", "*.bin")
MAX_HEADER = 100_000_000  # what the safetensors library takes


def main(asked: Preparation, channel: Channel) -> None:
    """Prepare and report."""
    try:
        folder = _folder(asked, channel)
        path = folder / "config.json"
        described = supported.complete(_read(path), folder)
        shape = describe(described, path)
        max_length = min(asked.max_length or 2048, shape.max_position)
        supported.check_window(described, path, max_length)
        workload = workloads.build(
            asked.name, asked.spec, asked.seed, shape.vocab_size, max_length, _encoder(folder)
        )
        Path(asked.out).write_bytes(msgspec.json.encode(workload))
    except Problem as problem:
        channel.send(Failed(error="Problem", message=str(problem)))
        return
    sizes = [len(p.prompt_ids) for p in workload.requests]
    requests = Requests(
        name=workload.name, sha256=workload.sha256, requests=len(sizes), prompt_tokens=sum(sizes),
        output_tokens=sum(p.output_tokens for p in workload.requests),
        max_total=max(p.total for p in workload.requests),
    )  # fmt: skip
    channel.send(
        Prepared(
            folder=str(folder), model=shape, max_length=max_length, workload=requests,
            random_weights=asked.source.kind == "shape",
            weights_sha256=_weights_hash(folder, asked),
        )
    )  # fmt: skip


def _read(path: Path) -> ModelConfig:
    """Return config.json, parsed. Raises Problem."""
    try:
        config = json.loads(path.read_text())
    except OSError as error:
        raise Problem(f"{path}: cannot be read ({error.strerror}): not a model folder") from None
    except (ValueError, RecursionError) as error:
        raise Problem(f"{path}: not a decoder model's configuration (not JSON: {error})") from None
    if not isinstance(config, dict):
        raise Problem(f"{path}: not a decoder model's configuration (no object)")
    return config


def describe(config: ModelConfig, path: Path) -> Shape:
    """Return the sizes that matter. Raises Problem for a model that cannot be measured."""
    supported.check_structure(config, path)
    try:
        heads = config.get("num_attention_heads") or config["n_head"]
        hidden = config.get("hidden_size") or config["n_embd"]
        sizes = {
            "architecture": (config.get("architectures") or [config["model_type"]])[0],
            "layers": config.get("num_hidden_layers") or config["n_layer"],
            "kv_heads": config.get("num_key_value_heads") or heads,
            "head_dim": config.get("head_dim") or hidden // heads,
            "vocab_size": config["vocab_size"],
            "max_position": config.get("max_position_embeddings") or config["n_positions"],
        }
        return msgspec.convert(sizes, Shape)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(
            f"{path}: not a decoder model's configuration ({type(error).__name__}: {error})"
        ) from None


def _folder(asked: Preparation, channel: Channel) -> Path:
    source, path, cache = asked.source, Path(asked.source.path), Path(asked.cache)
    if source.kind == "bundled":
        return _convert(path, cache, source.name, channel)
    if source.kind == "hub":
        return _download(source.name)
    if source.kind == "shape":
        return _shape_folder(path, cache)
    _check_weights(path)
    return path


def _convert(gguf: Path, cache: Path, name: str, channel: Channel) -> Path:
    """Convert the bundled GGUF once; a finished folder is renamed into place, never half there."""
    folder = cache / f"{name}-{_sha256(gguf)[:12]}"
    if (folder / "config.json").exists():
        _check_weights(folder)
        return folder
    channel.send(Phase(name="convert the bundled model (once)", edge="begin"))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        settings = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, quantization_config=settings,
            dtype=torch.bfloat16,
        )  # fmt: skip
        model.save_pretrained(unfinished)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        tokenizer.save_pretrained(unfinished)
        try:
            Path(unfinished).rename(folder)
            folder.chmod(0o755)
        except OSError:  # another run was faster: its folder is as good
            shutil.rmtree(unfinished, ignore_errors=True)
        Path(unfinished).mkdir(exist_ok=True)  # for the context manager to remove
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        line = str(error).strip().splitlines()[0]
        raise Problem(f"model {name!r}: not to be had from the Hub ({line})") from None


def _shape_folder(config: Path, cache: Path) -> Path:
    """A folder with nothing but the configuration: engines that want a folder get one."""
    text = config.read_bytes()
    folder = cache / f"shape-{config.stem}-{hashlib.sha256(text).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_bytes(text)
    return folder


def _check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are missing or cut short, before any engine starts."""
    files = [path for pattern in WEIGHTS for path in folder.glob(pattern)]
    if not files:
        raise Problem(f"{folder}: no weights (*.safetensors) in this model folder")
    for path in files:
        if path.suffix == ".safetensors" and not _whole(path):
            raise Problem(f"{path}: cut short or damaged: fetch or convert the model again")


def _whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says (8-byte length, JSON, data)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(path.stat().st_size, MAX_HEADER):
            return False
        try:
            header = json.loads(stream.read(length))
            ends = [t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return path.stat().st_size == 8 + length + max(ends, default=0)


def _weights_hash(folder: Path, asked: Preparation) -> str | None:
    """Hash configuration and weights; remembered by size and time, for large models take long."""
    if asked.source.kind == "shape":
        return _sha256(folder / "config.json")
    files = sorted(p for pattern in ("config.json", *WEIGHTS) for p in folder.glob(pattern))
    stamp = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    key = hashlib.sha256(json.dumps([str(folder), stamp]).encode()).hexdigest()[:24]
    remembered = Path(asked.cache, "hashes", key)
    if remembered.exists():
        return remembered.read_text()
    whole = hashlib.sha256("".join(_sha256(path) for path in files).encode()).hexdigest()
    remembered.parent.mkdir(parents=True, exist_ok=True)
    remembered.write_text(whole)
    return whole


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _encoder(folder: Path) -> Callable[[str], list[int]] | None:
    path = folder / "tokenizer.json"
    if not path.exists():
        return None
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise Problem(f"{path}: not a tokenizer ({error})") from None
    return lambda text: list(tokenizer.encode(text).ids)
