"""Refuse what cannot work before anything starts: it would fail minutes later, and obscurely."""

from orchestrator.backends import installed
from orchestrator.suite import Entry, Suite
from traces.errors import Problem
from traces.kv import DEFAULT_BLOCK, HF_PAGE, VLLM_CPU_BLOCK
from traces.preparing import Shape

OWN_BLOCKS = {"vllm": 1, "hf-paged": 2}  # the null block; one to pad reads, one to pad writes


def check(suite: Suite, model: Shape, max_length: int, device: str) -> None:
    """Raise Problem for the first thing in the suite that this model or device cannot do."""
    for entry in suite.backend:
        slot = model.bytes_per_token(suite.dtype, transformers=entry.name.startswith("hf-"))
        _budget(suite, entry, max_length, slot, device)
        _effective(suite, entry, device)
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
    usual = HF_PAGE if entry.name == "hf-paged" else DEFAULT_BLOCK[device]
    block = entry.options.get("block_size") or usual
    if entry.name in OWN_BLOCKS:
        slots = (-(-max_length // block) + OWN_BLOCKS[entry.name]) * block
    else:
        slots = max_length
    if budget is not None and budget < slots * slot:
        raise Problem(
            f"{entry.title}: a kv_budget of {budget} bytes is under one request of max_length "
            f"{max_length} ({slots * slot} bytes at {slot} a token): raise it or lower max_length"
        )


def _effective(suite: Suite, entry: Entry, device: str) -> None:
    """An option that would change nothing is refused: two such cells would be compared."""
    options, budget = entry.options, suite.kv_budget or suite.sweep.kv_budget
    sized = budget or device == "cpu" or "kv_cache_memory_bytes" in options
    reasons = {
        "compile": "Transformers compiles on a GPU only" if device == "cpu" else "",
        "gpu_memory_utilization": "the size of the KV pool is set" if sized else "",
        "kv_cache_memory_bytes": "kv_budget is the size of the KV pool" if budget else "",
    }
    idle = {name: why for name, why in reasons.items() if why and options.get(name)}
    for name, why in idle.items():
        raise Problem(f"{entry.title}: {name} has no effect here, for {why}: leave it out")


def _vllm(entry: Entry, device: str) -> None:
    block = entry.options.get("block_size")
    if device == "cpu" and block is not None and block % VLLM_CPU_BLOCK:
        raise Problem(
            f"{entry.title}: block_size {block}: vLLM on a CPU has multiples of "
            f"{VLLM_CPU_BLOCK} only"
        )
    if device == "cuda" and block is not None and block < 16:
        raise Problem(f"{entry.title}: block_size {block}: vLLM on a GPU has 16 at least")
