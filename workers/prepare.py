"""Make ready what all cells share: the model's folder and the token ids. Runs in its own process.

The bundled model is a GGUF file inside an installed package; it is converted once into the
user's cache. Writes workload.json in the run's folder and tells the orchestrator what the model
is. Nothing is downloaded unless the user named a Hub id.
"""

import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from traces.control import Channel
from traces.errors import Problem
from traces.messages import Failed, Phase
from traces.preparing import Note, Preparation, Prepared, Requests, Shape
from workers import hub, sizes, supported, tokenizer, weights, workloads
from workers.sizes import ModelConfig


def main(asked: Preparation, channel: Channel) -> None:
    """Prepare and report."""
    try:
        folder = _folder(asked, channel)
        shape = asked.source.kind == "shape"
        path = Path(asked.source.path) if shape else folder / "config.json"
        described = supported.complete(_read(path), folder)
        found = describe(described, path)
        if shape:
            supported.check_shape(described, path)
        else:
            weights.check_head(folder, described)
        max_length = supported.max_length(asked.max_length, described, found.max_position, path)
        supported.check_window(described, path, max_length)
        workload = workloads.build(
            asked.name, asked.spec, asked.seed, found.vocab_size, max_length,
            tokenizer.load(folder, asked.trust_remote_code), found.max_position,
            lambda line: channel.send(Note(text=line)),
        )  # fmt: skip
        _write(Path(asked.out), msgspec.json.encode(workload))
    except Problem as problem:
        channel.send(Failed(error="Problem", message=str(problem)))
        return
    lengths = [len(p.prompt_ids) for p in workload.requests]
    requests = Requests(
        name=workload.name, sha256=workload.sha256, requests=len(lengths),
        prompt_tokens=sum(lengths), output_tokens=sum(p.output_tokens for p in workload.requests),
        max_total=max(p.total for p in workload.requests),
    )  # fmt: skip
    channel.send(
        Prepared(
            folder=str(folder), model=found, max_length=max_length, workload=requests,
            random_weights=shape, weights_sha256=_hash(folder, asked),
        )
    )  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, or not at all. Raises Problem."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise Problem(f"{path}: cannot be written ({error.strerror}): free some space") from None


def _read(path: Path) -> ModelConfig:
    """Return config.json, parsed. Raises Problem."""
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            raise Problem(
                f"{path}: a byte order mark comes first, which engines refuse: save it without"
            )
        config = json.loads(text)
    except OSError as error:
        raise Problem(f"{path}: cannot be read ({error.strerror}): not a model folder") from None
    except (ValueError, RecursionError) as error:
        raise Problem(f"{path}: not a decoder model's configuration (not JSON: {error})") from None
    if not isinstance(config, dict):
        raise Problem(f"{path}: not a decoder model's configuration (no object)")
    return config


def describe(config: ModelConfig, path: Path) -> Shape:
    """Return the sizes that matter. Raises Problem for a model that cannot be measured."""
    supported.check_task(config, path)
    supported.check_structure(config, path)
    try:
        return sizes.shape(config, config["architectures"][0])
    except (ValueError, TypeError, OverflowError) as error:
        raise Problem(f"{path}: not a decoder model's configuration ({error})") from None


def _folder(asked: Preparation, channel: Channel) -> Path:
    source, path, cache = asked.source, Path(asked.source.path), Path(asked.cache)
    if source.kind == "bundled":
        return _convert(path, cache, source.name, channel)
    if source.kind == "shape":
        return _shape_folder(path, cache, Path(asked.out).parent)
    if source.kind == "hub":
        path = hub.download(source.name, asked.trust_remote_code)
    weights.check(path)
    return path


def _convert(gguf: Path, cache: Path, name: str, channel: Channel) -> Path:
    """Convert the bundled GGUF once; a finished folder is renamed into place, never half there."""
    folder = cache / f"{name}-{weights.sha256(gguf)[:12]}"
    if (folder / "config.json").exists():
        weights.check(folder)
        return folder
    channel.send(Phase(name="convert the bundled model (once)", edge="begin"))
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{cache}: {error.strerror}: name another in XDG_CACHE_HOME") from None
    with tempfile.TemporaryDirectory(dir=cache) as unfinished:
        settings = GgufConfig(dequantize=True)
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, quantization_config=settings,
            dtype=torch.bfloat16,
        )  # fmt: skip
        model.save_pretrained(unfinished)
        encoder = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        encoder.save_pretrained(unfinished)
        try:
            Path(unfinished).rename(folder)
            folder.chmod(0o755)
        except OSError:  # another run was faster: its folder is as good
            shutil.rmtree(unfinished, ignore_errors=True)
        Path(unfinished).mkdir(exist_ok=True)  # for the context manager to remove
    return folder


def _shape_folder(config: Path, cache: Path, run: Path) -> Path:
    """A folder with nothing but the configuration: engines that want a folder get one.

    In the cache, for engines keep what they compiled by its path; where none may write, in the run.
    """
    text = config.read_bytes()
    folder = cache / f"shape-{config.stem}-{hashlib.sha256(text).hexdigest()[:12]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = run / "shape"
        folder.mkdir(exist_ok=True)
    if not (folder / "config.json").exists():
        (folder / "config.json").write_bytes(text)
    return folder


def _hash(folder: Path, asked: Preparation) -> str:
    if asked.source.kind == "shape":
        return weights.sha256(folder / "config.json")
    return weights.remembered_hash(folder, Path(asked.cache, "hashes"))
