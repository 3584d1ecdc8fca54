"""A tiny real model: the Llama architecture with seeded random weights, in a folder.

All backends load the same folder, so that in float32 they must generate the same tokens. Written
with NumPy, for the tests need no torch of their own.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 2, 4, 2, 32, 256
HIDDEN, INNER = HEADS * HEAD_DIM, 128
SPREAD = 0.08  # of the weights: wide enough that the best token is no near-tie
BYTES_PER_SLOT = 2 * LAYERS * KV_HEADS * HEAD_DIM * 4

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32",
    "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": INNER,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM,
    "vocab_size": VOCAB, "max_position_embeddings": 1024, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def write(folder: Path) -> Path:
    """Write the model to a folder and return it."""
    folder.mkdir(parents=True)
    Path(folder, "config.json").write_text(json.dumps(CONFIG))
    save_file(weights(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def weights() -> dict[str, np.ndarray]:
    """Every tensor by the name that Transformers and vLLM know it by."""
    draw = np.random.default_rng(0)
    attention = {"q_proj": (HIDDEN, HIDDEN), "o_proj": (HIDDEN, HIDDEN)}
    attention |= dict.fromkeys(("k_proj", "v_proj"), (KV_HEADS * HEAD_DIM, HIDDEN))
    inner = {"gate_proj": (INNER, HIDDEN), "up_proj": (INNER, HIDDEN), "down_proj": (HIDDEN, INNER)}
    shapes = {"model.embed_tokens": (VOCAB, HIDDEN), "lm_head": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.self_attn.{n}": s for n, s in attention.items()}
        shapes |= {f"model.layers.{layer}.mlp.{n}": s for n, s in inner.items()}
    tensors = {f"{n}.weight": draw.normal(0, SPREAD, s).astype("f4") for n, s in shapes.items()}
    norms = [f"model.layers.{i}.{n}_layernorm" for i in range(LAYERS)
             for n in ("input", "post_attention")]  # fmt: skip
    return tensors | {f"{name}.weight": np.ones(HIDDEN, "f4") for name in [*norms, "model.norm"]}
