"""Sizes of models, worked out on paper, whatever names their families have for them."""

import json
from pathlib import Path

import pytest
from msgspec.structs import asdict

from tests.workers.tiny import CONFIG
from traces.errors import Problem
from workers import prepare, sizes, supported

LLAMA = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}


def described(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return asdict(prepare.describe(supported.complete(config, tmp_path), path))


def bytes_per_token(shape, heads="kv_heads"):
    return 2 * shape["layers"] * shape[heads] * shape["head_dim"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "expected", "positions"),
    [
        # One KV head of 128 / 4 = 32 for all: 2 x 3 layers x 1 x 32 x 2 bytes.
        ({"model_type": "falcon", "multi_query": True, "new_decoder_architecture": False,
          "num_attention_heads": 4, "hidden_size": 128, "num_hidden_layers": 3}, 384, 2048),
        # All 4 heads: 2 x 3 x 4 x 32 x 2.
        ({"model_type": "falcon", "multi_query": False, "new_decoder_architecture": False,
          "num_attention_heads": 4, "hidden_size": 128, "num_hidden_layers": 3}, 1536, 2048),
        # The code models of GPT-2's line: one head of 16: 2 x 2 x 1 x 16 x 2.
        ({"model_type": "gpt_bigcode", "n_head": 4, "n_embd": 64, "n_layer": 2, "n_positions": 99,
          "multi_query": True}, 128, 99),
        # 2 x 5 x 8 heads of 64 / 8 = 8 x 2
        ({"model_type": "bloom", "n_layer": 5, "n_head": 8, "hidden_size": 64}, 1280, None),
        ({"model_type": "mpt", "n_layers": 5, "n_heads": 8, "d_model": 64, "max_seq_len": 77},
         1280, 77),
        ({"model_type": "gpt_neo", "num_layers": 2, "num_heads": 4, "hidden_size": 64,
          "attention_types": [[["global", "local"], 1]]}, 512, 2048),
        # Qwen3's class says 128 where the file says nothing: 2 x 2 x 2 x 128 x 2.
        ({"model_type": "qwen3", "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "hidden_size": 256, "max_position_embeddings": 64}, 2048, 64),
        # Every layer is attention, whatever else the family has keys for: 2 x 2 x 2 x 16 x 2.
        ({"model_type": "granitemoehybrid", "num_hidden_layers": 2, "num_attention_heads": 4,
          "num_key_value_heads": 2, "hidden_size": 64, "layer_types": ["attention"] * 2,
          "mamba_d_state": 16, "max_position_embeddings": 64}, 256, 64),
    ],
    ids=lambda value: value.get("model_type") if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_familys_own_names(tmp_path, config, expected, positions):
    config = {"architectures": ["XForCausalLM"], "vocab_size": 100, **config}
    shape = described(tmp_path, config)
    assert bytes_per_token(shape) == expected
    assert bytes_per_token(shape, "transformers_kv_heads") == expected
    assert (shape["max_position"], shape["vocab_size"]) == (positions, 100)


@pytest.mark.slow
def test_falcons_new_decoder_is_stored_differently(tmp_path):
    """2 of 8 heads of 8, which Transformers copies to all 8: 2 x 1 layer x 2 (or 8) x 8 x 2."""
    config = {
        "model_type": "falcon", "architectures": ["FalconForCausalLM"], "num_attention_heads": 8,
        "hidden_size": 64, "num_hidden_layers": 1, "num_kv_heads": 2, "vocab_size": 100,
        "new_decoder_architecture": True, "multi_query": True,
    }  # fmt: skip
    shape = described(tmp_path, config)
    assert bytes_per_token(shape) == 64
    assert bytes_per_token(shape, "transformers_kv_heads") == 256


def test_a_class_of_somebody_elses():
    config = {"num_attention_heads": 4, "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 9,
              "model_max_length": 50}  # fmt: skip
    found = sizes.shape(config, "Theirs")
    assert (found.kv_heads, found.head_dim, found.max_position) == (4, 16, 50)
    glm = {**config, "multi_query_attention": True, "multi_query_group_num": 2, "kv_channels": 32}
    found = sizes.shape(glm, "GLM")
    assert (found.kv_heads, found.head_dim) == (2, 32)


@pytest.mark.parametrize(
    ("scaling", "positions"),
    [
        (None, 1000),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1000}, 4000),
        ({"rope_type": "yarn", "factor": 4.0}, 4000),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 250}, 1000),
        ({"rope_type": "linear", "factor": 2.0}, 2000),
        ({"rope_type": "dynamic", "factor": 2.0}, 2000),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 125}, 1000),
        ({"rope_type": "linear", "factor": None}, 1000),
        ({"rope_type": "mrope", "factor": 2.0}, 1000),
        ("linear", 1000),
    ],
)
def test_positions_after_scaling(scaling, positions):
    config = {**CONFIG, "max_position_embeddings": 1000}
    assert sizes.shape({**config, "rope_scaling": scaling}, "").max_position == positions
    assert sizes.shape({**config, "rope_parameters": scaling}, "").max_position == positions


@pytest.mark.parametrize(
    "change",
    [
        {"num_hidden_layers": "2"}, {"num_hidden_layers": 2.0}, {"num_hidden_layers": True},
        {"num_key_value_heads": [2, 2]}, {"num_key_value_heads": 0}, {"vocab_size": "256"},
        {"vocab_size": None}, {"max_position_embeddings": "1024"}, {"head_dim": -1},
        {"num_attention_heads": {}}, {"hidden_size": 10, "head_dim": None},
        {"attn_config": {"kv_n_heads": "two"}},
    ],
)  # fmt: skip
def test_sizes_that_are_none(tmp_path, change):
    with pytest.raises(Problem) as refused:
        described(tmp_path, {**CONFIG, **change})
    assert str(refused.value).startswith(f"{tmp_path}/config.json: not a decoder model's")
    assert next(iter(change)).removeprefix("attn_config") in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "BertForMaskedLM: not a model that generates"),
        ({"architectures": ["LlamaModel"]}, "LlamaModel: not a model that generates text"),
        ({"architectures": ["T5ForConditionalGeneration"]}, "not a model that generates text"),
        ({"architectures": ["Qwen2ForTokenClassification"]}, "not a model that generates text"),
        ({"architectures": ["LlamaForCausalLMClassifier"]}, "not a model that generates text"),
        ({"architectures": []}, "architectures is missing"),
        ({"architectures": None}, "architectures is missing"),
        ({"architectures": "LlamaForCausalLM"}, "architectures is missing"),
        ({"architectures": [3]}, "architectures is missing"),
        ({"model_type": None}, "model_type is missing"),
    ],
)
def test_models_of_another_task(tmp_path, change, says):
    with pytest.raises(Problem, match=says):
        described(tmp_path, {**CONFIG, **change})


@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "RWForCausalLM", "ChatGLMModel"])
def test_models_that_generate_by_other_names(tmp_path, name):
    assert described(tmp_path, {**CONFIG, "architectures": [name]})["architecture"] == name


@pytest.mark.parametrize("method", ["awq", "gptq", "fp8"])
def test_a_quantized_shape(tmp_path, method):
    config = {**CONFIG, "quantization_config": {"quant_method": method, "bits": 4}}
    with pytest.raises(Problem, match=rf"quantization_config \({method}\)"):
        supported.check_shape(config, tmp_path / "config.json")
    supported.check_shape({**CONFIG, "quantization_config": None}, tmp_path)


def length(asked, most=1024, **config):
    return supported.max_length(asked, config, most, Path("config.json"))


def test_the_longest_request():
    assert (length(None), length(None, 99), length(None, None), length(1024)) == (
        1024, 99, 2048, 1024,
    )  # fmt: skip
    assert (length(5000, None), length(None, 9999)) == (5000, 2048)
    with pytest.raises(Problem, match="max_length 1025 is above the 1024 positions of this model"):
        length(1025)


@pytest.mark.parametrize("place", ["rope", "top"])
@pytest.mark.parametrize("kind", ["longrope", "su"])
def test_a_cache_that_is_dropped_on_the_way(place, kind):
    """At the original length the factors change, and Transformers starts the cache anew."""
    key = {"original_max_position_embeddings": 64}
    scaling = {"rope_type": kind, **(key if place == "rope" else {})}
    config = {"rope_scaling": scaling, **(key if place == "top" else {})}
    assert (length(64, **config), length(None, **config)) == (64, 64)
    with pytest.raises(Problem, match="above original_max_position_embeddings 64"):
        length(65, **config)
