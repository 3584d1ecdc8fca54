"""Folders whose weights are not all there, and whole, are told before any engine starts."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.workers import tiny
from traces.errors import Problem
from workers import weights


@pytest.fixture
def folder(tmp_path):
    return tiny.write(tmp_path / "model")


def refused(folder):
    with pytest.raises(Problem) as problem:
        weights.check(folder)
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_whole_folders(folder):
    weights.check(folder)
    weights.check_head(folder, tiny.CONFIG)
    (folder / "training_args.bin").write_bytes(b"no weights")
    (folder / "adapter_model.safetensors").write_bytes(b"no weights of the model")
    weights.check(folder)
    assert [path.name for path in weights.files(folder)] == ["model.safetensors"]


def test_only_something_else(folder):
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    assert "no weights" in refused(folder)


def shards(folder):
    """The tiny model in two files with their index."""
    (folder / "model.safetensors").unlink()
    tensors = sorted(tiny.weights().items())
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name, part in zip(names, (tensors[:5], tensors[5:]), strict=True):
        save_file(dict(part), folder / name)
    placed = {key: names[number >= 5] for number, (key, _) in enumerate(tensors)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return [folder / name for name in names]


@pytest.mark.parametrize("number", [0, 1])
def test_a_shard_that_is_missing(folder, number):
    paths = shards(folder)
    weights.check(folder)
    paths[number].unlink()
    assert f"names {paths[number].name}, which is not here (1 of 2 files" in refused(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"weight_map": []}', '{"weight_map": null}'])
def test_an_index_that_is_damaged(folder, text):
    shards(folder)
    (folder / "model.safetensors.index.json").write_text(text)
    assert "index.json: damaged" in refused(folder)


def test_an_index_of_the_other_form_says_nothing(folder):
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "gone.bin"}}')
    weights.check(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(Problem, match=r"names gone\.bin, which is not here"):
        weights.check(folder)


def test_shards_without_their_index(folder):
    shards(folder)
    (folder / "model.safetensors.index.json").unlink()
    assert "no model.safetensors.index.json beside it" in refused(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_what_git_leaves_in_place_of_a_large_file(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "a Git LFS pointer, not the weights: run `git lfs pull`" in refused(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_link_without_its_blob(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).symlink_to("../blobs/0123")
    assert f"{name}: a link to nothing" in refused(folder)


def test_an_empty_file(folder):
    (folder / "pytorch_model.bin").touch()
    assert "empty" in refused(folder)


def test_embeddings_without_an_output_layer(folder):
    tensors = {name: array for name, array in tiny.weights().items() if "lm_head" not in name}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(Problem, match="no output layer in its weights"):
        weights.check_head(folder, tiny.CONFIG)
    weights.check_head(folder, {**tiny.CONFIG, "tie_word_embeddings": True})
    quantized = {**tiny.CONFIG, "quantization_config": {"quant_method": "gptq"}}
    weights.check_head(folder, quantized)


def test_the_hash_is_of_configuration_and_weights(folder, tmp_path):
    one = weights.remembered_hash(folder, tmp_path / "hashes")
    other = shutil.copytree(folder, tmp_path / "other")
    assert weights.remembered_hash(other, tmp_path / "hashes") == one
    save_file({**tiny.weights(), "more": np.ones(1, "f4")}, other / "model.safetensors")
    assert weights.remembered_hash(other, tmp_path / "hashes") != one
    (tmp_path / "file").touch()
    assert weights.remembered_hash(folder, tmp_path / "file" / "hashes") == one
