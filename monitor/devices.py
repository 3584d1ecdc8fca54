"""Which devices to watch: by the user's list, by CUDA_VISIBLE_DEVICES, or all of them.

CUDA_VISIBLE_DEVICES is read as CUDA reads it: indices, UUIDs or their unique beginnings, MIG
instances; what follows the first invalid entry is invisible. Indices are NVML's, which are CUDA's
under CUDA_DEVICE_ORDER=PCI_BUS_ID. A GPU in MIG mode stands for its instances.
"""

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

from traces.errors import Problem


class Candidate(Protocol):
    """What choosing needs to know of a device."""

    @property
    def uuid(self) -> str: ...
    @property
    def index(self) -> int: ...
    @property
    def instances(self) -> Sequence[Self]: ...


D = TypeVar("D", bound=Candidate)


def choose(
    gpus: Sequence[D], asked: Sequence[int | str] | None, visible: str | None
) -> tuple[list[D], str | None]:
    """Return the devices to watch, and why there are none or fewer than named."""
    if asked is not None:
        return _asked(gpus, asked), None
    if visible is not None:
        return _visible(gpus, visible)
    return _unique([device for gpu in gpus for device in _parts(gpu)]), None


def _asked(gpus: Sequence[D], asked: Sequence[int | str]) -> list[D]:
    found: list[D] = []
    for name in asked:
        match = _find(gpus, str(name))
        if not match:
            here = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in gpus) or "none"
            raise Problem(
                f"no GPU {str(name)!r} on this machine, or more than one; there is: {here}"
            )
        found += match
    return _unique(found)


def _visible(gpus: Sequence[D], visible: str) -> tuple[list[D], str | None]:
    found: list[D] = []
    for name in visible.split(","):
        match = _find(gpus, name.strip())
        if not match:
            reason = f"CUDA_VISIBLE_DEVICES={visible!r}: {name.strip()!r} names no GPU here"
            return _unique(found), "CUDA_VISIBLE_DEVICES is empty" if not visible else reason
        found += match
    return _unique(found), None


def _find(gpus: Sequence[D], name: str) -> list[D]:
    """Return what one name stands for: nothing unless exactly one device has it."""
    if name.isdecimal():
        return [part for gpu in gpus if gpu.index == int(name) for part in _parts(gpu)]
    if name.startswith("MIG-GPU-") and name.count("/") == 2:  # before driver 470
        raise Problem(f"{name}: old MIG name; use the UUID that `nvidia-smi -L` prints")
    if not name.startswith(("GPU-", "MIG-")):
        return []
    everything = [device for gpu in gpus for device in (gpu, *gpu.instances)]
    match = [device for device in everything if device.uuid.startswith(name)]
    return list(_parts(match[0])) if len(match) == 1 else []


def _parts(gpu: D) -> Sequence[D]:
    return gpu.instances or [gpu]


def _unique(devices: list[D]) -> list[D]:
    return list({device.uuid: device for device in devices}.values())
