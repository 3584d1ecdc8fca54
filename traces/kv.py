"""Sizes of the KV cache that both who checks a suite and who runs it go by."""

DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
VLLM_CPU_BLOCK = 32
"""vLLM's attention kernel for CPUs takes blocks of multiples of this many tokens."""
DEFAULT_BLOCK = {"cpu": VLLM_CPU_BLOCK, "cuda": 16}
"""Tokens of a block of vLLM where none are asked for, by device."""
HF_PAGE = 256
"""Tokens of a page where none are asked for: Transformers' own, on every device."""
DEFAULT_CPU_POOL = 1 << 30
"""Bytes of KV where no budget is set and memory is not a device's."""


def bytes_per_token(layers: int, kv_heads: int, head_dim: int, dtype: str) -> int:
    """Return the bytes of one token's keys and values over all layers, by the model's sizes."""
    return 2 * layers * kv_heads * head_dim * DTYPE_BYTES[dtype]
