"""vLLM's GPU worker, which also notes what capturing CUDA graphs took (`worker_cls`).

Only the process that captures can tell: the graphs' private pool is part of torch's segments,
the rest is the driver's and grows device memory outside them.
"""

from typing import Any

from vllm.v1.worker.gpu_worker import Worker

from traces.facts import EngineFacts
from workers import torch_memory


class GpuWorker(Worker):
    """As vLLM's own, with the capture measured."""

    def compile_or_warm_up_model(self, *args: Any, **kwargs: Any) -> Any:
        capture = self.model_runner.capture_model

        def measured(*a: Any, **k: Any) -> Any:
            import torch

            outside, reserved = torch_memory.outside_allocator(0), torch.cuda.memory_reserved()
            result = capture(*a, **k)
            torch.cuda.synchronize()
            self.pagedbench_graphs = EngineFacts(
                graph_pool_bytes=torch.cuda.memory_reserved() - reserved,
                graph_driver_bytes=(torch_memory.outside_allocator(0) or 0) - (outside or 0),
            )
            return result

        self.model_runner.capture_model = measured
        return super().compile_or_warm_up_model(*args, **kwargs)
