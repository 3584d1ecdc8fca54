"""Refuse models whose KV cache is not one slot for each token and layer, before anything starts.

Every count here (slots held, tokens stored, bytes per slot) takes that for granted. A layer that
drops old tokens, stores a latent vector in place of keys and values, keeps a state of fixed size,
or reads another layer's cache would make the numbers wrong, and nothing would fail.

config.json leaves out what equals the defaults of its class in Transformers, so that for all but
the plainest architectures the class is asked: that costs seconds, for it imports torch.
"""

from pathlib import Path
from typing import Any

from traces.errors import Problem

ModelConfig = dict[str, Any]
"""A model's config.json: every architecture has keys of its own."""

PLAIN = ("gpt2", "llama", "opt", "qwen2", "qwen3")
"""Full attention unless the file itself says otherwise: their classes need not be asked."""

STATES = (
    "mamba", "ssm", "state_size", "linear_num", "linear_attn", "hybrid", "rwkv", "conv_l_cache",
    "layers_block_type", "block_types", "attn_layer_period", "attn_type_list", "block_configs",
)  # fmt: skip
"""Parts of the keys by which configurations describe layers without a KV cache like all others."""

RECURRENT = ("rwkv", "xlstm")
"""Architectures without any KV cache whose keys do not tell."""

ADVICE = "use a model with full attention in every layer"


def complete(config: ModelConfig, folder: Path) -> ModelConfig:
    """Return the configuration with the defaults of its class, where Transformers knows it."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or (kind in PLAIN and not config.get("use_sliding_window")):
        return config
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except Exception:  # somebody's own class, or none: what the file says must do
        return config
    whole: ModelConfig = config | found.to_dict()
    return whole


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
    keys = [key for key in config if _says(key, STATES) and config[key]]
    if key := "model_type" if config.get("model_type") in RECURRENT else next(iter(keys), ""):
        raise Problem(f"{path}: {key}: layers with a state in place of a KV cache: {ADVICE}")
    layers = config.get("layer_types") or []
    if not isinstance(layers, list) or not all(isinstance(layer, str) for layer in layers):
        raise Problem(f"{path}: layer_types is not a list of names: {ADVICE}")
    kinds = set(layers)
    if len(kinds) > 1 or kinds - {"full_attention", "sliding_attention"}:
        raise Problem(
            f"{path}: layer_types {', '.join(sorted(kinds))}: engines keep these in several caches "
            f"of different length: {ADVICE}"
        )


def check_window(config: ModelConfig, path: Path, max_length: int) -> None:
    """Raise Problem where layers would drop tokens of a request of the maximum length."""
    for key in ("sliding_window", "attention_chunk_size"):
        window = config.get(key)
        if type(window) is int and 0 < window < max_length and _slides(config):
            raise Problem(
                f"{path}: {key} {window} is under max_length {max_length}: a longer request's old "
                f"tokens are dropped: set max_length = {window} in the suite, or {ADVICE}"
            )


def _slides(config: ModelConfig) -> bool:
    """Whether a window that is set is in effect."""
    if kinds := config.get("layer_types"):
        return set(kinds) != {"full_attention"}
    asked = config.get("use_sliding_window")
    if asked is None:  # Qwen's classes need to be told, the others slide where a window is set
        return not str(config.get("model_type")).startswith("qwen")
    return bool(asked)


def _says(key: str, parts: tuple[str, ...]) -> bool:
    return any(part in key.lower() for part in parts)
