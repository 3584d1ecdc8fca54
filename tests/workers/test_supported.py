"""Models whose KV cache is not one slot for each token and layer are refused, others are not."""

import json
from pathlib import Path

import pytest

from orchestrator import models
from tests.workers.tiny import CONFIG
from traces.errors import Problem
from workers.supported import check_structure, check_window, complete

WHERE = Path("model", "config.json")
HARMLESS = [
    {"sliding_window": None},
    {"sliding_window": 4096},  # requests are no longer than that
    {"sliding_window": 64, "use_sliding_window": False},
    {"sliding_window": 64, "model_type": "qwen2"},
    {"sliding_window": 64, "layer_types": ["full_attention"] * 2},
    {"sliding_window": 4096, "layer_types": ["sliding_attention"] * 2},
    {"attention_chunk_size": None, "kv_lora_rank": None, "num_kv_shared_layers": 0},
    {"is_encoder_decoder": False},
    {"sliding_window": True},  # no number of tokens
]
REFUSED = [
    ({"sliding_window": 64}, "sliding_window 64 is under max_length 2048"),
    ({"sliding_window": 64, "use_sliding_window": True, "model_type": "qwen2"}, "sliding_window"),
    ({"sliding_window": 64, "layer_types": ["sliding_attention"] * 2}, "max_length = 64"),
    ({"attention_chunk_size": 512}, "attention_chunk_size 512"),
    ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types full_attention, slid"),
    ({"layer_types": ["linear_attention", "full_attention"]}, "layer_types"),
    ({"layer_types": 5}, "layer_types is not a list of names"),
    ({"layer_types": "full_attention"}, "layer_types is not a list of names"),
    ({"layer_types": ["chunked_attention"]}, "layer_types chunked_attention"),
    ({"kv_lora_rank": 512}, "kv_lora_rank 512"),
    ({"num_kv_shared_layers": 15}, "num_kv_shared_layers 15"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ({"text_config": {"hidden_size": 64}}, "use a text-only model"),
    ({"mamba_d_state": 16}, "mamba_d_state"),
    ({"linear_num_key_heads": 16}, "linear_num_key_heads"),
    ({"state_size": 16}, "state_size"),
    ({"model_type": "rwkv"}, "model_type: layers with a state"),
]


def check(config, max_length=2048):
    check_structure(config, WHERE)
    check_window(config, WHERE, max_length)


@pytest.mark.parametrize("config", HARMLESS)
def test_one_slot_for_each_token_and_layer(config):
    check({**CONFIG, **config})


@pytest.mark.parametrize(("config", "says"), REFUSED)
def test_anything_else_is_refused(config, says):
    with pytest.raises(Problem) as refused:
        check({**CONFIG, **config})
    line = str(refused.value)
    assert says in line
    assert line.startswith(f"{WHERE}: ")
    assert "use a" in line
    assert "\n" not in line


def test_a_window_as_long_as_every_request_is_harmless():
    config = {**CONFIG, "sliding_window": 512}
    check(config, max_length=512)
    with pytest.raises(Problem):
        check(config, max_length=513)


@pytest.mark.parametrize("name", models.shapes())
def test_the_published_shapes_are_taken_without_asking_their_classes(name):
    path = Path(models.resolve(name).path)
    config = json.loads(path.read_text())
    assert complete(config, path.parent) is config
    check(config)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "mistral"}, "sliding_window 4096"),
        ({"model_type": "gemma2"}, "layer_types"),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 64,
          "max_window_layers": 1}, "layer_types"),
        ({"model_type": "mistral", "sliding_window": None}, ""),
        ({"model_type": "qwen3", "use_sliding_window": True, "sliding_window": 64,
          "max_window_layers": 2}, ""),
        ({"model_type": "of-somebody", "sliding_window": 4096}, "sliding_window 4096"),
    ],
)  # fmt: skip
def test_what_the_file_leaves_out_is_as_its_class_has_it(tmp_path, config, says):
    plain = {key: CONFIG[key] for key in CONFIG if key != "architectures"}
    Path(tmp_path, "config.json").write_text(json.dumps({**plain, **config}))
    found = complete({**plain, **config}, tmp_path)
    if not says:
        return check(found, 8192)
    with pytest.raises(Problem, match=says):
        check(found, 8192)
