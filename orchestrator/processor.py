"""The processor: its name, the cores we may use, and what decides how fast it computes.

Two machines whose processors have one name may differ in it: a virtual one need not pass all on.
"""

import os
import platform
import re
from pathlib import Path

from msgspec import Struct

CPUINFO = Path("/proc/cpuinfo")
FEATURES = re.compile(r"avx2|avx512\w*|amx_\w+|asimd\w*|(sve)?bf16|sve2?|i8mm")
BF16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""What computes in bfloat16; without one of them it is emulated, many times slower."""


class Cpu(Struct, frozen=True):
    """The processor, and the cores that this process may use."""

    model: str
    cores: int
    features: list[str]

    @property
    def has_bf16(self) -> bool:
        return bool(BF16.intersection(self.features))


def cpu() -> Cpu:
    """Read it from the system."""
    try:
        text = CPUINFO.read_text()
    except OSError:
        text = ""
    name = re.search(r"model name\s*:\s*(.+)", text)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)", text, re.MULTILINE)
    return Cpu(
        name[1].strip() if name else platform.processor() or platform.machine(),
        len(os.sched_getaffinity(0)),
        sorted(filter(FEATURES.fullmatch, flags[1].split())) if flags else [],
    )
