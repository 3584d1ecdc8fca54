"""What the process that owns the device says of its weights, with stand-ins for vLLM's objects."""

from types import SimpleNamespace

import pytest

from tests.workers import tiny
from workers.vllm_probe import Probe


class Tensor:
    """What is asked of a tensor: its length, and the storage behind it."""

    def __init__(self, length):
        self.length = length

    def numel(self):
        return self.length

    def untyped_storage(self):
        return SimpleNamespace(data_ptr=lambda: id(self), nbytes=lambda: 2 * self.length)


class Layer:
    """Of an attention layer, its backend."""

    def __init__(self, name):
        self.name = name

    def get_attn_backend(self):
        return SimpleNamespace(get_name=lambda: self.name)


def weights_bytes(parameters, folder):
    tensors = [Tensor(length) for length in parameters]
    model = SimpleNamespace(parameters=lambda: tensors, buffers=lambda: [])
    probe = Probe()
    probe.model_runner = SimpleNamespace(get_model=lambda: model, kv_caches=[])
    probe.model_config = SimpleNamespace(model=str(folder), dtype=SimpleNamespace(itemsize=2))
    context = {"0": Layer("FLASH"), "1": Layer("FLASH"), "2": object()}
    compilation = SimpleNamespace(static_forward_context=context)
    probe.vllm_config = SimpleNamespace(compilation_config=compilation)
    _, layout = probe.pagedbench_sizes()
    assert layout["kernels"] == ["FLASH"]
    return layout["ranks"][0]["weights_bytes"]


@pytest.fixture
def folder(tmp_path):
    return tiny.write(tmp_path / "model")


def test_weights_that_stayed_as_they_were_loaded_are_measured(folder):
    assert weights_bytes([100, 20], folder) == 240


def test_weights_that_kernels_repacked_are_those_of_the_checkpoint(folder):
    """Embeddings 2 x 256 x 128, and in each of 2 layers attention 2 x 128 x 128 + 2 x 64 x 128,
    inner 3 x 128 x 128 and two norms of 128; one norm at the end: 262,784 numbers of 2 bytes."""
    assert weights_bytes([100, 0, 20], folder) == 2 * (
        65_536 + 2 * (49_152 + 49_152 + 256) + 128
    )  # fmt: skip


def test_repacked_random_weights_are_unknown(tmp_path):
    assert weights_bytes([100, 0], tmp_path) is None
