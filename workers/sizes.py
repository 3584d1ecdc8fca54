"""The sizes of a model, from its configuration, by whatever names its family has for them.

Transformers' classes map most names to one (`attribute_map`); the rest is here. How many heads of
keys and values are stored is a matter of the engine too: for Falcon's new decoder, Transformers
keeps a copy for each query head.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from traces.preparing import Shape

ModelConfig = Mapping[str, Any]
"""A model's config.json: every architecture has keys of its own."""

MAPPED = (
    "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size", "head_dim",
    "vocab_size", "max_position_embeddings", "layers_block_type", "tie_word_embeddings",
)  # fmt: skip
"""What a class of Transformers is asked for by name, for it may have another in the file."""

POSITIONS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_sequence_length", "max_seq_length", "max_context_length", "seq_len", "n_ctx",
)  # fmt: skip
NAMES = {
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "model_dim"),
    "head_dim": ("head_dim", "kv_channels", "hidden_size_per_head"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "max_position": POSITIONS,
}
SCALED = ("linear", "dynamic", "yarn")
"""Kinds of rotary scaling that reach further than the positions the file gives."""


class Rope(NamedTuple):
    """Rotary positions: the kind of scaling, its factor, the positions before it."""

    kind: str
    factor: float | None
    original: int | None


def whole(config: Any) -> ModelConfig:
    """Return a Transformers configuration as plain keys, mapped names among them."""
    mapped = {name: getattr(config, name) for name in MAPPED if hasattr(config, name)}
    return {**config.to_dict(), **mapped}


def shape(config: ModelConfig, architecture: str) -> Shape:
    """Return the sizes of a model.

    Raises ValueError, naming the key, for a size that is missing or no whole number above zero.
    """
    heads, hidden = _size(config, "heads"), _size(config, "hidden_size")
    dim = _optional(config, "head_dim") or _share(hidden, heads)
    return Shape(
        architecture=architecture,
        layers=_size(config, "layers"),
        kv_heads=kv_heads(config, heads),
        transformers_kv_heads=heads if _broadcast(config) else kv_heads(config, heads),
        head_dim=dim,
        vocab_size=_size(config, "vocab_size"),
        max_position=_positions(config),
    )


def kv_heads(config: ModelConfig, heads: int) -> int:
    """Return heads of keys and values in a layer of the model: all, some, or one for all."""
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    if config.get("multi_query_attention") and config.get("multi_query_group_num"):
        return int(config["multi_query_group_num"])
    inner = config.get("attn_config")
    if isinstance(inner, Mapping) and inner.get("kv_n_heads"):
        return int(inner["kv_n_heads"])
    return _optional(config, "kv_heads") or heads


def rope(config: ModelConfig) -> Rope:
    """Return how rotary positions are scaled; of kind "default" where they are not."""
    found = config.get("rope_scaling") or config.get("rope_parameters")
    found = found if isinstance(found, Mapping) else {}
    factor, key = found.get("factor"), "original_max_position_embeddings"
    original = found.get(key) or config.get(key)
    return Rope(
        kind=found.get("rope_type") or found.get("type") or "default",
        factor=factor if isinstance(factor, int | float) else None,
        original=original if type(original) is int and original > 0 else None,
    )


def _positions(config: ModelConfig) -> int | None:
    """Return the positions that can be told apart, with what scaling adds to them."""
    given, scaling = _optional(config, "max_position"), rope(config)
    if given is None or scaling.kind not in SCALED or scaling.factor is None:
        return given
    if scaling.kind == "yarn":  # some files have the scaled length already, some the original one
        return max(given, int((scaling.original or given) * scaling.factor))
    return int(given * scaling.factor)


def _broadcast(config: ModelConfig) -> bool:
    return bool(config.get("model_type") == "falcon" and config.get("new_decoder_architecture"))


def _share(hidden: int, heads: int) -> int:
    if hidden % heads:
        raise ValueError(f"hidden_size {hidden} is no multiple of {heads} attention heads")
    return hidden // heads


def _size(config: ModelConfig, what: str) -> int:
    found = _optional(config, what)
    if found is None:
        raise ValueError(f"{NAMES[what][0]} is missing")
    return found


def _optional(config: ModelConfig, what: str) -> int | None:
    """Return the first of the names that is set."""
    for name in NAMES[what]:
        if (value := config.get(name)) is not None:
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} {value!r}: a whole number above zero is needed")
            return value
    return None
