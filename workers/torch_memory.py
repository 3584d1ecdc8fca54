"""Read torch's allocator and the device, from inside the process that owns them."""

import ctypes
from pathlib import Path
from typing import Any

from traces.facts import EngineFacts
from traces.layout import Rank


class _Mallinfo2(ctypes.Structure):
    """glibc's struct mallinfo2: sizes in bytes, summed over all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
            "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def heap() -> dict[str, int | None]:
    """Return bytes the C heap has handed out, and holds of the system: torch's allocator on CPUs.

    Null where the C library is not glibc 2.33 or newer.
    """
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return {"allocated": None, "reserved": None, "inactive_split": None}
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return {
        "allocated": info.uordblks + info.hblkhd,
        "reserved": info.arena + info.hblkhd,
        "inactive_split": None,
    }


def mappings(where: str) -> EngineFacts:
    """Return this process's PSS by what is mapped: weights files, other files, anonymous memory.

    Weights that Transformers maps from a safetensors file are not on the heap, and libraries grow
    after they were imported, as their pages are used. Empty where /proc has no smaps.
    """
    sums = {"weights_file": 0, "files": 0, "anonymous": 0}
    kind = "anonymous"
    try:
        lines = Path("/proc/self/smaps").read_text(errors="replace").splitlines()
    except OSError:
        return EngineFacts()
    for line in lines:
        key, _, rest = line.partition(" ")
        if not key.endswith(":"):  # the first line of a mapping: addresses, then perhaps a path
            path = line.split(maxsplit=5)[5] if line.count(" ") >= 5 and "/" in line else ""
            kind = _mapping_kind(path)
        elif key == "Pss:":
            sums[kind] += int(rest.split()[0]) << 10
    return EngineFacts(
        pss_weights_file_bytes={where: sums["weights_file"]},
        pss_files_bytes={where: sums["files"]},
        pss_anonymous_bytes={where: sums["anonymous"]},
    )


def _mapping_kind(path: str) -> str:
    if not path.startswith("/"):
        return "anonymous"
    return "weights_file" if path.endswith((".safetensors", ".bin")) else "files"


def allocator(device: str) -> dict[str, int | None]:
    """Return allocator bytes now and, on a GPU, at their peak."""
    if device != "cuda":
        return heap()
    import torch

    stats = torch.cuda.memory_stats()
    return {
        "allocated": stats["allocated_bytes.all.current"],
        "reserved": stats["reserved_bytes.all.current"],
        "inactive_split": stats["inactive_split_bytes.all.current"],
        "peak_allocated": stats["allocated_bytes.all.peak"],
        "peak_reserved": stats["reserved_bytes.all.peak"],
    }


def step(device: str) -> dict[str, int]:
    """Return the allocator's bytes now and at their peak since the step before, which starts anew.

    Empty where nobody can tell pieces apart. Only counters are read, so no work on the GPU is
    waited for; flattening all of them into `memory_stats()` would take several times as long.
    """
    if device != "cuda":
        return {}
    import torch

    stats = torch.cuda.memory_stats_as_nested_dict()
    names = ("allocated", "reserved", "inactive_split")
    now = {name: stats[f"{name}_bytes"]["all"]["current"] for name in names}
    peaks = {f"peak_{name}": stats[f"{name}_bytes"]["all"]["peak"] for name in names[:2]}
    torch.cuda.reset_peak_memory_stats()
    return now | peaks


def reset_peak(device: str) -> None:
    """Start the allocator's peak anew."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def outside_allocator(baseline_used: int | None) -> int | None:
    """Return device bytes in use beyond torch's segments and what was in use before us.

    That is the CUDA context, loaded kernels, and what libraries took for themselves. cudaMemGetInfo
    sees the whole device, so it is right only while no other process changes its share.
    """
    import torch

    if not torch.cuda.is_available() or baseline_used is None:
        return None
    free, total = torch.cuda.mem_get_info()
    return int(total - free - baseline_used - torch.cuda.memory_reserved())


def note_outside(facts: EngineFacts, rank: Rank, where: str, outside: int | None) -> None:
    """Note device bytes outside the allocator at a phase edge, and what follows from them.

    The ledger's context is taken once warm, less what the CUDA graphs took of the driver: what
    the run phase adds after that is then left to show as residual.
    """
    facts.outside_allocator_bytes[where] = outside
    if where == "warmup.end" and outside is not None:
        driver = facts.graph_driver_bytes or 0
        rank.context_bytes = outside - driver
        rank.graph_bytes = driver + (facts.graph_pool_bytes or 0)


def tensor_bytes(tensors: Any) -> int:
    """Return the bytes behind tensors, each storage once: views and tied weights share one."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
