"""Read memory inside the vLLM process that owns the device (`worker_extension_cls`)."""

from pathlib import Path
from typing import Any

from traces.facts import EngineFacts, Values, to_values
from traces.policy import Policy
from workers import torch_memory
from workers import weights as checkpoint


class Probe:
    """Methods vLLM adds to its worker; called by name through `collective_rpc`."""

    model_runner: Any
    model_config: Any

    def pagedbench_memory(
        self, device: str, baseline: int | None
    ) -> tuple[dict[str, int | None], int | None]:
        """Return the allocator's counts and the device bytes outside it."""
        outside = torch_memory.outside_allocator(baseline) if device == "cuda" else None
        return torch_memory.allocator(device), outside

    def pagedbench_sizes(self) -> Values:
        """Return bytes of weights and of the KV pool, measured from their tensors, and of graphs.

        As values, since they cross to another process where the engine has its own. Where kernels
        on a CPU repacked the weights, they left empty tensors and keep their own, which nobody can
        ask for: then those of the checkpoint count, or none are known.
        """
        model = self.model_runner.get_model()
        facts: EngineFacts = getattr(self, "pagedbench_graphs", EngineFacts())
        facts.weights_bytes = torch_memory.tensor_bytes([*model.parameters(), *model.buffers()])
        if any(not parameter.numel() for parameter in model.parameters()):
            elements = checkpoint.elements(Path(self.model_config.model))
            facts.weights_bytes = elements and elements * self.model_config.dtype.itemsize
            facts.weights_repacked = True
        facts.pool_bytes = torch_memory.tensor_bytes(_flat(self.model_runner.kv_caches))
        return to_values(facts)

    def pagedbench_attention(self) -> str:
        """Return the attention kernels that were chosen, by vLLM's names."""
        groups = [group for of_cache in self.model_runner.attn_groups for group in of_cache]
        return ", ".join(sorted({group.backend.get_name() for group in groups}))

    def pagedbench_reset_peak(self, device: str) -> None:
        """Start the allocator's peak anew."""
        torch_memory.reset_peak(device)

    def pagedbench_record(self, on: bool) -> None:
        """Switch the scheduler's recording, while no request runs.

        It reaches the scheduler where that shares a process with the worker: on one device.
        """
        from workers import vllm_scheduler

        vllm_scheduler.recording = on

    def pagedbench_arrange(self, policy: Policy, usable: int | None) -> None:
        """Change the allocation policy and the blocks to be had, while no request runs."""
        from workers import vllm_scheduler

        vllm_scheduler.current.arrange(policy, usable)


def _flat(caches: Any) -> list[Any]:
    """Flatten nested lists or dicts of tensors (their shape differs between versions)."""
    if isinstance(caches, dict):
        caches = caches.values()
    flat: list[Any] = []
    for item in caches:
        flat += _flat(item) if isinstance(item, (list, tuple, dict)) else [item]
    return flat
