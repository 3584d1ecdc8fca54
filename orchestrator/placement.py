"""Where a run computes, and in which precision: as the suite says, or by what is here."""

from typing import Literal

from orchestrator import backends
from orchestrator.processor import Cpu
from orchestrator.sampler import SamplerProcess
from traces.errors import Problem
from traces.records import Device

AMPERE = (8, 0)  # the first GPUs that compute in bfloat16


def device(asked: str, sampler: SamplerProcess) -> Literal["cpu", "cuda"]:
    """Return cpu or cuda. Raises Problem when a GPU is asked for and cannot be used."""
    torch = backends.installed("torch") or ""
    usable = bool(sampler.devices) and "+cpu" not in torch
    if asked == "cuda" and not sampler.devices:
        raise Problem(f"device cuda: no GPU here ({sampler.no_devices}): use --device cpu")
    if asked == "cuda" and not usable:
        raise Problem(f"device cuda: torch {torch} is a CPU build: run `make setup ACCEL=cuda`")
    return "cuda" if usable and asked != "cpu" else "cpu"


def dtype(on: Literal["cpu", "cuda"], gpus: list[Device], cpu: Cpu) -> tuple[str, str]:
    """Return the precision that "auto" means here, the same for every backend, and why.

    The least able GPU decides; one that does not say what it can is taken for a newer one.
    """
    if on == "cpu":
        if cpu.has_bf16:
            return "bfloat16", "the processor has instructions for it"
        return "float32", "the processor has no instructions for bfloat16"
    told = [gpu.meta["compute_capability"] for gpu in gpus if "compute_capability" in gpu.meta]
    if told and (least := min(map(tuple, told))) < AMPERE:
        return "float16", f"a GPU of compute capability {least[0]}.{least[1]} has no bfloat16"
    return "bfloat16", "the GPU computes in it"
