"""NVML: the only file that imports it. Opens the driver's library and asks its devices.

Memory and load are read by the ticker, which is told the addresses of the C functions. All else
goes through nvidia-ml-py. No call raises for an NVML error: each answers (value, None) or
(None, reason).

Memory is asked as version 2: version 1 counts the driver's own reservation as used (503 MB on
an idle H100 where version 2 says 0). A driver without version 2 gets version 1, and says so.
"""

import ctypes
import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pynvml

from monitor.compiled import Call
from monitor.reasons import Reason, Then, of
from traces.records import FreeForm

LACKING = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND

THROTTLE = {
    0x001: "idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}


@cache
def throttle_names(mask: int) -> list[str]:
    """Return what holds the clocks down, by NVML's mask."""
    return [name for bit, name in THROTTLE.items() if mask & bit]


def ask(call: Callable[..., Any], *arguments: Any) -> tuple[Any, Reason | None]:
    """Call nvidia-ml-py: (value, None), or (None, reason) when NVML has none."""
    try:
        return call(*arguments), None
    except pynvml.NVMLError as error:
        return None, of(int(error.value))
    except UnicodeDecodeError:  # a corrupted infoROM gives names that are no text
        return None, of(pynvml.NVML_ERROR_CORRUPTED_INFOROM)


class Numbers(NamedTuple):
    """A memory reading in bytes; `reserved` is None where `used` holds it."""

    used: int
    free: int
    reserved: int | None


def call(names: tuple[str, ...], handle: Any, argument: int = -1, initial: int = 0) -> Call:
    """Describe a call of a function, by the first of its names that this driver knows."""
    known = (ask(pynvml._nvmlGetFunctionPointer, name)[0] for name in names)
    function = next((found for found in known if found), None)
    address = function and ctypes.cast(function, ctypes.c_void_p).value
    return Call(address, ctypes.cast(handle, ctypes.c_void_p).value, argument, initial)


class NvmlDevice:
    """A GPU or a MIG instance (then `parent` is the GPU's UUID). Identified by its UUID."""

    def __init__(self, handle: Any, index: int, parent: str | None = None) -> None:
        self.index = index
        self.parent = parent
        self.total: int | None = None
        self.attach(handle)
        self.uuid = str(ask(pynvml.nvmlDeviceGetUUID, handle)[0] or f"unknown-{index}")
        self.name: str | None = ask(pynvml.nvmlDeviceGetName, handle)[0]
        self.instances: list[NvmlDevice] = []

    def attach(self, handle: Any) -> None:
        """Use this handle from now on: handles do not survive a driver reset.

        `memory` and `load` say how to read the device directly, `places` which words of a memory
        reading are used, free and (version 2) reserved bytes.
        """
        self.handle = handle
        self._version = pynvml.nvmlMemory_v2
        info, reason = self._info()
        if reason in (of(LACKING), of(pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)):
            self._version = 0
            info, _ = self._info()
        if info:
            self.total = int(info.total)
        if self._version:
            self.memory = call(("nvmlDeviceGetMemoryInfo_v2",), handle, initial=self._version)
            self.places: tuple[int, ...] = (4, 3, 2)
        else:
            self.memory = call(("nvmlDeviceGetMemoryInfo",), handle)
            self.places = (2, 1)
        self.load = _load(handle)

    def _info(self) -> tuple[Any, Reason | None]:
        return ask(pynvml.nvmlDeviceGetMemoryInfo, self.handle, self._version)

    def read(self) -> tuple[Numbers | None, Reason | None]:
        """Read the memory now."""
        info, reason = self._info()
        if reason:
            return None, reason
        return Numbers(info.used, info.free, info.reserved if self._version else None), None

    def facts(self) -> FreeForm:
        """Return what else identifies the device or bounds its speed, as far as NVML knows."""
        pci, _ = ask(pynvml.nvmlDeviceGetPciInfo_v3, self.handle)
        limit, _ = ask(pynvml.nvmlDeviceGetEnforcedPowerLimit, self.handle)
        capability, _ = ask(pynvml.nvmlDeviceGetCudaComputeCapability, self.handle)
        found = {
            "compute_capability": capability and list(capability),
            "pci": pci and _text(pci.busId),
            "power_limit_w": limit and limit / 1000,
            "parent": self.parent,
            "memory_version": 2 if self._version else 1,
        }
        return {name: value for name, value in found.items() if value is not None}

    def energy(self) -> tuple[Any, Reason | None]:
        """Millijoules since the driver was loaded. Slow: 4 ms on an H100."""
        return ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, self.handle)

    def processes(self) -> tuple[dict[int, int | None] | None, Reason | None]:
        """Compute processes, pid to bytes (None where NVML will not say). The dear call."""
        rows, reason = ask(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, self.handle)
        if reason:
            return None, reason
        return {int(row.pid): row.usedGpuMemory for row in rows}, None


class Library:
    """The driver's library, open. `watched` are found again by `reopen`.

    `lock` keeps the slow calls of other threads off a re-opening.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.driver: str | None = None
        self.cuda: str | None = None
        self.reason: Reason | None = None
        self.watched: list[NvmlDevice] = []
        self.open()

    def open(self) -> Reason | None:
        """Open it; returns why not."""
        _, self.reason = ask(pynvml.nvmlInit)
        if self.reason is None:
            self.driver = ask(pynvml.nvmlSystemGetDriverVersion)[0]
            cuda, _ = ask(pynvml.nvmlSystemGetCudaDriverVersion)
            self.cuda = cuda and f"{cuda // 1000}.{cuda % 1000 // 10}"
        return self.reason

    def close(self) -> None:
        """Close it; closing a dead one is fine."""
        ask(pynvml.nvmlShutdown)

    def reopen(self) -> None:
        """Close, open, find each watched device again by UUID; all handles die with the closing."""
        with self.lock:
            self.close()
            if self.open():
                return
            for device in self.watched:
                handle, reason = ask(pynvml.nvmlDeviceGetHandleByUUID, device.uuid)
                if not reason:
                    device.attach(handle)

    def devices(self) -> tuple[list[NvmlDevice], list[str]]:
        """Return every GPU with its MIG instances, and what went wrong with the others."""
        count, reason = ask(pynvml.nvmlDeviceGetCount)
        if reason:
            return [], [reason.text]
        found, troubles = [], []
        for index in range(count):
            handle, reason = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
            if reason:
                troubles.append(f"GPU {index}: {reason.text}")
                continue
            device = NvmlDevice(handle, index)
            device.instances = _instances(device)
            found.append(device)
        return found, troubles


def _load(handle: Any) -> dict[str, Call]:
    """Say how to read what a Load record holds.

    Percent of NVML's own window (1/6 to 1 s), the GPU's in the lower half of the word and its
    memory's in the upper (nvmlUtilization_t is two unsigned ints); milliwatts, a 1 s average on
    Ampere and later; MHz; degrees Celsius; a mask of THROTTLE.
    """
    reasons = (
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
    )
    return {
        "util": call(("nvmlDeviceGetUtilizationRates",), handle),
        "power_w": call(("nvmlDeviceGetPowerUsage",), handle),
        "sm_clock": call(("nvmlDeviceGetClockInfo",), handle, pynvml.NVML_CLOCK_SM),
        "mem_clock": call(("nvmlDeviceGetClockInfo",), handle, pynvml.NVML_CLOCK_MEM),
        "temperature": call(("nvmlDeviceGetTemperature",), handle, pynvml.NVML_TEMPERATURE_GPU),
        "throttle": call(reasons, handle),
    }


def _instances(gpu: NvmlDevice) -> list[NvmlDevice]:
    """Return the MIG instances of a GPU in MIG mode, in NVML's order."""
    mode, _ = ask(pynvml.nvmlDeviceGetMigMode, gpu.handle)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return []
    count, _ = ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, gpu.handle)
    handles = (
        ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, gpu.handle, slot)[0]
        for slot in range(count or 0)
    )
    return [NvmlDevice(handle, gpu.index, gpu.uuid) for handle in handles if handle is not None]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


__all__ = ["LACKING", "Library", "Numbers", "NvmlDevice", "Reason", "Then", "ask", "throttle_names"]
