"""The memory limit of our container or service, and whether the kernel ends processes for it.

Both versions of cgroups; a limit of any group above ours holds for us too.
"""

from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
VMSTAT = Path("/proc/vmstat")
LIMITS = ("memory.max", "memory.limit_in_bytes")


def limit() -> int | None:
    """Return the least limit on our memory in bytes; None where it is the machine's."""
    texts = (_read(folder / name).strip() for folder in _folders() for name in LIMITS)
    found = [int(text) for text in texts if text.isdigit()]
    least = min(found, default=None)
    return least if least is not None and least < psutil.virtual_memory().total else None


def kills() -> int:
    """Return how many processes the kernel has ended for want of memory, where it counts them."""
    counted = [line.split() for line in _read(VMSTAT).splitlines() if line.startswith("oom_kill ")]
    return int(counted[0][1]) if counted else 0


def why_killed(before: int) -> str:
    """Say what a SIGKILL that nobody of us sent may mean; `before` is what `kills` was."""
    most = limit()
    of = f"the limit here is {most / 2**30:.1f} GiB" if most else "of the machine"
    if kills() > before:
        return f"by the kernel, out of memory ({of})"
    return f"perhaps by the kernel, out of memory ({of})"


def _folders() -> Iterator[Path]:
    """Yield our group's folders and all above them."""
    for line in _read(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory") or "memory" in controllers.split(","):
            base = ROOT / "memory" if controllers else ROOT
            folder = base / path.lstrip("/")
            yield from (
                folder,
                *(above for above in folder.parents if base in (above, *above.parents)),
            )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
