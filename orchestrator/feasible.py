"""Refuse what cannot work before anything starts: it would fail minutes later, and obscurely."""

from orchestrator.backends import installed
from orchestrator.suite import Entry, Suite
from traces.errors import Problem
from traces.kv import DEFAULT_BLOCK, VLLM_CPU_BLOCK
from traces.preparing import Shape

OWN_BLOCKS = {"vllm": 1, "hf-paged": 2}  # the null block; one to pad reads, one to pad writes


def check(suite: Suite, model: Shape, max_length: int, device: str) -> None:
    """Raise Problem for the first thing in the suite that this model or device cannot do."""
    for entry in suite.backend:
        slot = model.bytes_per_token(suite.dtype, transformers=entry.name.startswith("hf-"))
        _budget(suite, entry, max_length, slot, device)
        if entry.name == "vllm":
            _vllm(entry, device)
        if entry.options.get("attention") == "flash_attention_2" and not installed("flash-attn"):
            raise Problem(f"{entry.title}: attention flash_attention_2 needs flash-attn: use sdpa")
        length = entry.options.get("max_cache_len")
        if length is not None and length < max_length:
            raise Problem(
                f"{entry.title}: max_cache_len {length} is under max_length {max_length}: "
                "requests of that length would not fit"
            )


def _budget(suite: Suite, entry: Entry, max_length: int, slot: int, device: str) -> None:
    """One request of the maximum length must fit, and the blocks an engine keeps for itself."""
    budget = min(suite.kv_budgets(slot), default=None)
    block = entry.options.get("block_size") or DEFAULT_BLOCK[device]
    if entry.name in OWN_BLOCKS:
        slots = (-(-max_length // block) + OWN_BLOCKS[entry.name]) * block
    else:
        slots = max_length
    if budget is not None and budget < slots * slot:
        raise Problem(
            f"{entry.title}: a kv_budget of {budget} bytes is under one request of max_length "
            f"{max_length} ({slots * slot} bytes at {slot} a token): raise it or lower max_length"
        )


def _vllm(entry: Entry, device: str) -> None:
    block = entry.options.get("block_size")
    if device == "cpu" and block is not None and block % VLLM_CPU_BLOCK:
        raise Problem(
            f"{entry.title}: block_size {block}: vLLM on a CPU has multiples of "
            f"{VLLM_CPU_BLOCK} only"
        )
    if device == "cuda" and block is not None and block < 16:
        raise Problem(f"{entry.title}: block_size {block}: vLLM on a GPU has 16 at least")
