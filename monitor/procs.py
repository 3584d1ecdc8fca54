"""Who is on a device: our process tree, and foreign processes.

NVML's pids are those of the driver's pid namespace. In a container they may be the host's, which
mean nothing here; under WSL and on some MIG set-ups the bytes are missing. What the tree holds is
then taken as the device's growth since the tree was first watched, and `why` says so.
"""

from pathlib import Path

from monitor.gpu import Gpu
from monitor.tree import Tree
from traces.records import Procs

GROWTH = "growth of the device over its baseline: "
INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h."""


def procs(gpu: Gpu, tree: Tree | None, earlier: set[int]) -> Procs:
    """Read and attribute a device's processes. `earlier` were there before the tree began."""
    pids, trouble = gpu.processes()
    ours, why = _ours(gpu, tree, pids, trouble, earlier)
    reasons = {name: text for name, text in (("pids", trouble), ("ours", why)) if text}
    return Procs(
        t=0,
        uuid=gpu.uuid,
        pids=None if pids is None else {str(pid): size for pid, size in pids.items()},
        ours=ours,
        foreign=_foreign(pids or {}, tree, earlier),
        why=reasons or None,
    )


def _ours(
    gpu: Gpu,
    tree: Tree | None,
    pids: dict[int, int | None] | None,
    trouble: str | None,
    earlier: set[int],
) -> tuple[int | None, str | None]:
    if tree is None:
        return None, "no process tree is watched"
    if pids is None:
        return growth(gpu, trouble or "no process list")
    sizes = [size for pid, size in pids.items() if pid in tree.pids]
    if any(size is None for size in sizes):
        return growth(gpu, "NVML gives no memory per process here")
    if not sizes and any(_unmapped(pid, earlier) for pid in pids):
        return growth(gpu, "NVML's pids are of another pid namespace")
    return sum(size or 0 for size in sizes), None


def _foreign(pids: dict[int, int | None], tree: Tree | None, earlier: set[int]) -> list[int]:
    members = tree.pids if tree else set()
    return sorted(p for p in pids if p not in members and not (tree and _unmapped(p, earlier)))


def growth(gpu: Gpu, because: str) -> tuple[int | None, str]:
    """Return what the device gained since its baseline, labelled."""
    if gpu.used is None or gpu.baseline is None:
        return None, f"{because}; and the device's memory is unknown"
    return max(0, gpu.used - gpu.baseline), GROWTH + because


def _unmapped(pid: int, earlier: set[int]) -> bool:
    """Say whether a pid is none of this namespace's and newer than the tree: presumably its own."""
    return pid not in earlier and other_namespace() and not Path(f"/proc/{pid}").exists()


def other_namespace() -> bool:
    """Say whether this process sees another pid namespace than the driver."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) != INITIAL_PID_NAMESPACE
    except OSError:
        return True
