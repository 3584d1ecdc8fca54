"""The program that samplers are measured against: a decode-like loop, and short big allocations.

Like token generation it launches many small kernels and waits for each token on the CPU, so that
it feels both a busy core and a held driver lock. Orders come on stdin, answers go to stdout, one
line of JSON each:

    run SECONDS    -> [[begin_ns, end_ns], ...]  the steps
    spikes COUNT   -> [[begin_ns, end_ns], ...]  1 GiB held for 5 ms, 100 ms apart
"""

import json
import sys
import time
from itertools import pairwise

import torch

LAYERS, WIDTH, INNER, BATCH = 12, 2048, 8192, 64
SPIKE_BYTES, SPIKE_NS, APART_NS = 1 << 30, 5_000_000, 100_000_000


class Loop:
    """A stack of gated layers on the GPU, without attention: its cost does not grow with time."""

    def __init__(self) -> None:
        def weights(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, device="cuda", dtype=torch.bfloat16) / WIDTH**0.5

        self.layers = [(weights(WIDTH, 2 * INNER), weights(INNER, WIDTH)) for _ in range(LAYERS)]
        self.head = weights(WIDTH, 32000)
        self.x = weights(BATCH, WIDTH)

    @torch.inference_mode()
    def step(self) -> None:
        """One token for every row; the CPU waits for it."""
        x = self.x
        for up, down in self.layers:
            gate, value = (x @ up).chunk(2, dim=-1)
            x = x + (torch.nn.functional.silu(gate) * value) @ down
            x = x / x.float().pow(2).mean(-1, keepdim=True).sqrt().to(x.dtype)
        (x @ self.head).argmax(-1).tolist()

    def run(self, seconds: float) -> list[tuple[int, int]]:
        """Step for so many seconds; return when each step began and ended."""
        times = [time.monotonic_ns()]
        while times[-1] - times[0] < seconds * 1e9:
            self.step()
            times.append(time.monotonic_ns())
        return list(pairwise(times))


def spikes(count: int) -> list[tuple[int, int]]:
    """Allocate and free; the times are those between which the memory was surely held."""
    held = []
    for _ in range(count):
        block = torch.empty(SPIKE_BYTES, device="cuda", dtype=torch.uint8)
        begin = time.monotonic_ns()
        while time.monotonic_ns() - begin < SPIKE_NS:
            time.sleep(0.0002)
        held.append((begin, time.monotonic_ns()))
        del block
        torch.cuda.empty_cache()  # gives it back to the driver, where samplers look
        time.sleep(APART_NS / 1e9)
    return held


def main() -> None:
    """Obey until stdin ends."""
    loop = Loop()
    loop.run(2.0)
    torch.cuda.empty_cache()
    print(
        json.dumps({"device": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True
    )
    for line in sys.stdin:
        order, number = line.split()
        answer = loop.run(float(number)) if order == "run" else spikes(int(number))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
