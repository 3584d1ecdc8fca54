"""The host side of a sample: the watched tree's memory and time, the host's memory and load."""

import os

from monitor import proc
from monitor.tree import Tree
from traces.records import Host


def host(tree: Tree | None, pss: bool) -> Host:
    """Read the tree (and its PSS when asked) and the host; nulls carry their reason."""
    why: dict[str, str] = {}
    use = tree.read() if tree else None
    if use is None:
        reason = "the process tree is gone" if tree else "no process tree is watched"
        why = dict.fromkeys(("rss", "cpu_s"), reason)
    size = None
    if pss and tree and use:
        size, trouble = tree.pss()
        if trouble:
            why["pss"] = trouble
    used, total = proc.memory()
    return Host(
        t=0,
        rss=use and use.rss,
        pss=size,
        processes=use.processes if use else 0,
        cpu_s=use and use.cpu_s,
        major_faults=use and use.major_faults,
        minor_faults=use and use.minor_faults,
        host_used=used,
        host_total=total,
        load1=round(os.getloadavg()[0], 2),
        why=why or None,
    )
