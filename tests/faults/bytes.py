"""Bytes that are lost or changed: in the traces of a finished run, and in a model's folder."""

import json
import shutil
from pathlib import Path

from tests.faults.checks import ended, expect, result, resumes
from tests.faults.scene import Scene


def torn_trace(scene: Scene) -> None:
    """A trace that lost its end: no cell of it is well, and going on measures it anew."""
    path = _a_trace(scene)
    raw = path.read_bytes()
    left = scene.draw.randrange(len(raw))
    path.write_bytes(raw[:left])
    scene.note(f"{path.name} cut to {left} of {len(raw)} bytes")
    _made_anew(scene)


def flipped_trace(scene: Scene) -> None:
    """A trace with a few bits changed, be it in a digit: likewise."""
    path = _a_trace(scene)
    raw = bytearray(path.read_bytes())
    for _ in range(scene.draw.choice([1, 1, 1, 2, 50])):
        place = scene.draw.randrange(len(raw))
        raw[place] ^= 1 << scene.draw.randrange(8)
        scene.note(f"{path.name}: byte {place} flipped")
    path.write_bytes(raw)
    _made_anew(scene)


def _a_trace(scene: Scene) -> Path:
    scene.engine = scene.draw.choice(["stub", "hf", "vllm"])
    out = scene.copy(scene.engine)
    return scene.draw.choice(sorted(out.rglob("*.jsonl")))


def _made_anew(scene: Scene) -> None:
    """`report` refuses it, or makes no cell well; what was there stays where it is refused."""
    before = result(scene)
    done = scene.run(scene.bench.out, verb="report")
    ended(scene, done, 2, 4)
    after = result(scene)
    expect(before and after, "no result any more")
    if done.code == 2:
        expect(before == after, "refused, and the result is another")
    elif after:
        statuses = [cell.status for cell in after.cells]
        expect("ok" not in statuses, f"well, of a damaged trace: {statuses}")
    if scene.engine != "vllm":  # which takes long, and is resumed after signals
        resumes(scene, scene.engine, 0, 2)


def broken_model(scene: Scene) -> None:
    """A model's folder that lacks something or is damaged is refused before an engine starts."""
    suite = scene.suite("hf", weights=True)
    folder = scene.home / "model"
    how = scene.draw.choice(list(WAYS))
    scene.note(how)
    WAYS[how](scene, folder)
    done = scene.finish(scene.start(suite))
    ended(scene, done, 2)
    expect(not scene.bench.out.exists(), "a folder is left of what did not begin")


def _cut(name: str):
    def damage(scene: Scene, folder: Path) -> None:
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: scene.draw.randrange(len(raw) - 1)])

    return damage


def _gone(name: str):
    return lambda scene, folder: (folder / name).unlink()


def _put(name: str, content: bytes):
    return lambda scene, folder: (folder / name).write_bytes(content)


def _header(scene: Scene, folder: Path) -> None:
    """Change the length in front of the tensors."""
    path = folder / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[scene.draw.randrange(7)] ^= 1 << scene.draw.randrange(8)
    path.write_bytes(raw)


def _longer(scene: Scene, folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as stream:
        stream.write(bytes(scene.draw.randrange(1, 4096)))


def _link(scene: Scene, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.unlink()
    path.symlink_to(folder / "blobs" / "0")


def _shards(scene: Scene, folder: Path) -> None:
    names = {"model.embed_tokens.weight": "model.safetensors", "x": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def _directory(scene: Scene, folder: Path) -> None:
    path = folder / scene.draw.choice(["model.safetensors", "config.json"])
    path.unlink()
    path.mkdir()


def _emptied(scene: Scene, folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _config(scene: Scene, folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    key = scene.draw.choice(["hidden_size", "num_attention_heads", "num_hidden_layers"])
    config[key] = scene.draw.choice([0, -1, None, "x", [], 1.5, True])
    scene.note(f"{key} = {config[key]!r}")
    path.write_text(json.dumps(config))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
WAYS = {
    "weights cut": _cut("model.safetensors"), "configuration cut": _cut("config.json"),
    "tokenizer cut": _cut("tokenizer.json"), "no weights": _gone("model.safetensors"),
    "no configuration": _gone("config.json"), "empty weights": _put("model.safetensors", b""),
    "a pointer of Git's": _put("model.safetensors", POINTER), "a length changed": _header,
    "longer weights": _longer, "a link to nothing": _link, "a shard missing": _shards,
    "a folder for a file": _directory, "an empty folder": _emptied, "a size that is none": _config,
    "an adapter alone": lambda scene, folder: (folder / "model.safetensors").rename(
        folder / "adapter_model.safetensors"
    ),
}  # fmt: skip
