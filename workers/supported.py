"""Refuse, before anything starts, models whose KV cache is not one slot for each token and layer.

Models of another task are refused too, and requests for what a model cannot do. Every count here
(slots held, tokens stored, bytes per slot) takes that for granted. A layer that drops old tokens,
stores a latent vector in place of keys and values, keeps a state of fixed size, or reads another
layer's cache would make the numbers wrong, and nothing would fail.

config.json leaves out what equals the defaults of its class in Transformers, so that for all but
the plainest architectures the class is asked: that costs seconds, for it imports torch.
"""

import re
from pathlib import Path

from traces.errors import Problem
from workers import sizes
from workers.sizes import ModelConfig

_USUAL = (
    "num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
PLAIN = {
    "gpt2": ("n_layer", "n_head", "n_embd", "vocab_size", "n_positions"),
    "llama": _USUAL,
    "opt": _USUAL,
    "qwen2": (*_USUAL, "num_key_value_heads"),
    "qwen3": (*_USUAL, "num_key_value_heads", "head_dim"),
}
"""Full attention unless the file itself says otherwise: classes that need not be asked about a file
with these keys."""

STATES = (
    "mamba", "ssm", "state_size", "linear_num", "linear_attn", "hybrid", "rwkv", "conv_l_cache",
    "layers_block_type", "block_types", "attn_layer_period", "attn_type_list", "block_configs",
)  # fmt: skip
"""Parts of the keys by which configurations describe layers without a KV cache like all others."""

RECURRENT = ("rwkv", "xlstm")
"""Architectures without any KV cache whose keys do not tell."""

ATTENTION = ("attention", "full_attention")
"""What layers with a KV cache of every token are called."""

GENERATES = re.compile(r"(ForCausalLM|LMHeadModel)$|^ChatGLM")

DEFAULT_LENGTH = 2048

ADVICE = "use a model with full attention in every layer"


def complete(config: ModelConfig, folder: Path) -> ModelConfig:
    """Return the configuration with the defaults of its class, where Transformers knows it."""
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return config
    if kind in PLAIN and not config.get("use_sliding_window") and {*PLAIN[kind]} <= config.keys():
        return config
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except Exception:  # somebody's own class, or none: what the file says must do
        return config
    return {**config, **sizes.whole(found)}


def check_task(config: ModelConfig, path: Path) -> None:
    """Raise Problem for a model that does not generate text from text."""
    if not isinstance(config.get("model_type"), str):
        raise Problem(f'{path}: model_type is missing: write it, as "model_type": "llama"')
    named = config.get("architectures")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named) or not named:
        raise Problem(f'{path}: architectures is missing: write it, as ["LlamaForCausalLM"]')
    if not any(map(GENERATES.search, named)):
        raise Problem(
            f"{path}: architectures {', '.join(named)}: not a model that generates text: "
            "use one that is ...ForCausalLM"
        )


def check_shape(config: ModelConfig, path: Path) -> None:
    """Raise Problem for a shape that engines would not draw the same weights for."""
    for key in ("quantization_config", "compression_config"):
        if isinstance(found := config.get(key), dict):
            method = found.get("quant_method", "quantized")
            raise Problem(
                f"{path}: {key} ({method}): one engine would run quantized kernels on random "
                "weights, another plain ones: take it out, or use the model with its weights"
            )


def max_length(asked: int | None, config: ModelConfig, most: int | None, path: Path) -> int:
    """Return the longest request, as asked or a default that fits. `most`: the model's positions.

    Raises Problem for one that the model cannot do.
    """
    rope = sizes.rope(config)
    if rope.kind in ("longrope", "su"):
        original = rope.original
        if original and (asked or 0) > original:
            raise Problem(
                f"{path}: longrope: max_length {asked} is above "
                f"original_max_position_embeddings {original}, where Transformers drops its whole "
                f"KV cache: set max_length = {original}"
            )
        most = min(most or DEFAULT_LENGTH, original or DEFAULT_LENGTH)
    if asked and most and asked > most:
        raise Problem(
            f"{path}: max_length {asked} is above the {most} positions of this model: "
            f"set max_length = {most} in the suite, or --max-length {most}"
        )
    return asked or min(DEFAULT_LENGTH, most or DEFAULT_LENGTH)


def check_structure(config: ModelConfig, path: Path) -> None:
    """Raise Problem for a model that is not a decoder with full attention in every layer."""
    if config.get("is_encoder_decoder"):
        raise Problem(f"{path}: is_encoder_decoder: use a model that is a decoder only")
    if isinstance(config.get("text_config"), dict):
        raise Problem(
            f"{path}: text_config: a model of text and other things is not measured: "
            "use a text-only model"
        )
    if config.get("kv_lora_rank"):
        raise Problem(
            f"{path}: kv_lora_rank {config['kv_lora_rank']}: multi-head latent attention stores "
            f"no keys and values per head, so slots cannot be compared: {ADVICE}"
        )
    if config.get("num_kv_shared_layers"):
        raise Problem(
            f"{path}: num_kv_shared_layers {config['num_kv_shared_layers']}: these layers have no "
            f"KV cache of their own: {ADVICE}"
        )
    layers = config.get("layer_types") or config.get("layers_block_type") or []
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        raise Problem(f"{path}: layer_types is not a list of names: {ADVICE}")
    kinds = {"full_attention" if layer in ATTENTION else layer for layer in layers}
    if kinds == {"full_attention"}:  # a family has keys for layers that this member has not
        return
    keys = [key for key in config if _says(key, STATES) and config[key]]
    if key := "model_type" if config.get("model_type") in RECURRENT else next(iter(keys), ""):
        raise Problem(f"{path}: {key}: layers with a state in place of a KV cache: {ADVICE}")
    if len(kinds) > 1 or kinds - {"full_attention", "sliding_attention"}:
        raise Problem(
            f"{path}: layer_types {', '.join(sorted(kinds))}: engines keep these in several caches "
            f"of different length: {ADVICE}"
        )


def check_window(config: ModelConfig, path: Path, max_length: int) -> None:
    """Raise Problem where layers would drop tokens of a request of the maximum length."""
    local = ("window_size",) if config.get("attention_layers") else ()
    for key in ("sliding_window", "attention_chunk_size", *local):
        window = config.get(key)
        if type(window) is int and 0 < window < max_length and _slides(config):
            raise Problem(
                f"{path}: {key} {window} is under max_length {max_length}: a longer request's old "
                f"tokens are dropped: set max_length = {window} in the suite, or {ADVICE}"
            )


def _slides(config: ModelConfig) -> bool:
    """Whether a window that is set is in effect."""
    if kinds := config.get("layer_types"):
        return not set(kinds) <= set(ATTENTION)
    if kinds := config.get("attention_layers"):  # GPT Neo's: global and local
        return "local" in kinds
    asked = config.get("use_sliding_window")
    if asked is None:  # Qwen's classes need to be told, the others slide where a window is set
        return not str(config.get("model_type")).startswith("qwen")
    return bool(asked)


def _says(key: str, parts: tuple[str, ...]) -> bool:
    return any(part in key.lower() for part in parts)
