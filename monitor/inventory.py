"""Which devices are there, which of them are watched, and why there are none."""

import os

from monitor.devices import choose
from monitor.gpu import Gpu
from monitor.nvml import Library
from traces.errors import Problem
from traces.records import Device
from traces.sampling import Settings

VISIBLE = "CUDA_VISIBLE_DEVICES"


def find(library: Library, settings: Settings) -> tuple[list[Gpu], str | None]:
    """Return the devices to watch and, when there are none or fewer than meant, why.

    Unless told otherwise they are those that CUDA shows to a program with our environment.
    """
    if settings.gpus == []:
        return [], "told to watch no GPU"
    if library.reason:
        if settings.gpus:
            raise Problem(f"GPU {str(settings.gpus[0])!r}: {library.reason.text}")
        return [], library.reason.text
    visible = settings.cuda_visible_devices
    present, troubles = library.devices()
    chosen, reason = choose(
        present, settings.gpus, os.environ.get(VISIBLE) if visible is None else visible
    )
    if reason:
        troubles.append(reason)
    if not chosen and not troubles:
        troubles.append("the NVIDIA driver lists no GPU")
    return [Gpu(device, library) for device in chosen], "; ".join(troubles) or None


def describe(gpu: Gpu, library: Library) -> Device:
    """Return the record of what does not change."""
    meta = gpu.device.facts()
    if library.cuda:
        meta["cuda"] = library.cuda
    return Device(
        t=0,
        uuid=gpu.uuid,
        index=gpu.device.index,
        name=gpu.device.name,
        memory_total=gpu.device.total,
        driver=library.driver,
        meta=meta,
    )
