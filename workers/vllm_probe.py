"""Read memory inside the vLLM process that owns the device (`worker_extension_cls`)."""

from pathlib import Path
from typing import Any

import msgspec

from traces.facts import EngineFacts, Values, to_values
from traces.layout import CacheGroup, Layout, Rank
from traces.policy import Policy
from workers import torch_memory
from workers import weights as checkpoint


class Probe:
    """Methods vLLM adds to its worker; called by name through `collective_rpc`."""

    model_runner: Any
    model_config: Any
    vllm_config: Any

    def pagedbench_memory(
        self, device: str, baseline: int | None
    ) -> tuple[dict[str, int | None], int | None]:
        """Return the allocator's counts and the device bytes outside it."""
        outside = torch_memory.outside_allocator(baseline) if device == "cuda" else None
        return torch_memory.allocator(device), outside

    def pagedbench_sizes(self) -> tuple[Values, Values]:
        """Return facts of weights and graphs, and the layout by its tensors, as far as known here.

        As values, since they cross to another process where the engine has its own. Where kernels
        on a CPU repacked the weights, they left empty tensors and keep their own, which nobody can
        ask for: then those of the checkpoint count, or none are known.
        """
        model, caches = self.model_runner.get_model(), _flat(self.model_runner.kv_caches)
        facts: EngineFacts = getattr(self, "pagedbench_graphs", EngineFacts())
        weights: int | None = torch_memory.tensor_bytes([*model.parameters(), *model.buffers()])
        if any(not parameter.numel() for parameter in model.parameters()):
            elements = checkpoint.elements(Path(self.model_config.model))
            weights = elements and elements * self.model_config.dtype.itemsize
            facts.weights_repacked = True
        layout = Layout(
            kind="paged", groups=[CacheGroup(layers=len(caches))], kernels=self._kernels(),
            ranks=[Rank(weights_bytes=weights, pool_bytes=torch_memory.tensor_bytes(caches))],
        )  # fmt: skip
        return to_values(facts), msgspec.to_builtins(layout)

    def _kernels(self) -> list[str]:
        """Return the names of the attention's backends."""
        layers = self.vllm_config.compilation_config.static_forward_context.values()
        asked = (getattr(layer, "get_attn_backend", None) for layer in layers)
        return sorted({str(ask().get_name()) for ask in asked if ask})

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
