"""The host side of a sample: the watched tree's memory and time, the host's memory and load."""

import os

from monitor import proc
from monitor.tree import Tree
from traces.records import Host


def resident(tree: Tree | None) -> Host | None:
    """Read the tree's resident memory alone; None when there is no tree."""
    size = tree.resident() if tree else None
    return Host(t=0, rss=size, processes=len(tree.pids)) if tree and size else None


def host(tree: Tree | None, pss: bool, interference: bool) -> Host:
    """Read the tree and the host; nulls carry their reason.

    When asked, its PSS too, and what others took from it: stolen time and involuntary switches.
    """
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
        steal_s=proc.steal() if interference else None,
        switches=tree.switches() if interference and tree and use else None,
        why=why or None,
    )
