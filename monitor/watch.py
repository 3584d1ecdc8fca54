"""What happens beside the ticks: the process tree, who is on the devices, and phase edges.

All of it runs in the slow lane, except `note`, which only writes the edge down when it is heard,
`progress`, which must go on while the driver holds up the lane, and `tick`.
"""

import msgspec

from monitor.gpu import Gpu
from monitor.host import host, resident
from monitor.lane import Job
from monitor.procs import procs
from monitor.ticks import NS, Every
from monitor.trace import Trace
from monitor.tree import Tree
from traces import clock, records
from traces.cell import DeviceState, ProcessOnDevice
from traces.control import Channel
from traces.records import Host
from traces.sampling import HostNow, Mark, Readings, Settings
from traces.writer import FLUSH_NS

HOST_WITHOUT_GPU_S = 0.1
HOST_WITH_GPU_S = 0.2
PSS_WITHOUT_GPU_S = 1.0
PSS_WITH_GPU_S = 5.0
INTERFERENCE_S = 1.0
PSS_SHARE = 1 / 500  # of the time that readings may take: what one costs grows with what is mapped


def host_interval(settings: Settings, with_gpu: bool) -> float:
    """Seconds between full readings of the tree and its host."""
    return settings.host_interval_s or (HOST_WITH_GPU_S if with_gpu else HOST_WITHOUT_GPU_S)


def pss_interval(settings: Settings, with_gpu: bool) -> float:
    """Seconds between PSS readings: the ledger closes against PSS only where there is no GPU."""
    if settings.pss_interval_s is not None:
        return settings.pss_interval_s
    return PSS_WITH_GPU_S if with_gpu else PSS_WITHOUT_GPU_S


class Watch:
    """The devices, the tree that is followed, and the trace they are written to."""

    def __init__(self, settings: Settings, gpus: list[Gpu], trace: Trace, channel: Channel) -> None:
        self._settings = settings
        self._gpus = gpus
        self._trace = trace
        self._channel = channel
        self._tree: Tree | None = None
        self._earlier: dict[str, set[int]] = {gpu.uuid: set() for gpu in gpus}
        self._host: Host | None = None
        self.follow(settings.watching)

    def periodic(self, start: int) -> list[tuple[Every, Job]]:
        """Return what the slow lane does by itself, and how often.

        Reading the tree and writing fall on one moment: to wake up costs as much as either.
        Without a GPU the ticks read the tree, and its PSS, which would make them late, is apart.
        """
        settings = self._settings
        self._full_due = Every(host_interval(settings, bool(self._gpus)), start)
        self._interference_due = Every(INTERFERENCE_S, start)
        self._pss_due = Every(pss_interval(settings, bool(self._gpus)), start)
        flushes = (Every(FLUSH_NS / NS, start), self._trace.flush)
        if not self._gpus:
            return [(self._pss_due, self._pss), flushes]
        return [
            (self._full_due, self._host_due),
            (Every(settings.procs_interval_s, start), self.processes),
            flushes,
        ]

    def note(self, mark: Mark) -> None:
        """Write the edge down."""
        self._trace.put(
            records.Mark(
                t=0, cell=mark.cell, phase=mark.phase, edge=mark.edge, watching=mark.watching
            )
        )

    def at_edge(self, mark: Mark) -> None:
        """Read what is read at phase edges: energy, processes, the tree, and its PSS at an end.

        Energy first: it is a difference between two edges, and the others take their time.
        """
        where = f"{mark.phase}.{mark.edge}"
        for gpu in self._gpus:
            self._trace.put(gpu.energy(where))
        self.follow(mark.watching)
        self.host(pss=mark.edge == "end")
        self.processes()

    def follow(self, root: int | None) -> None:
        """Follow this pid's tree from now on; what is on the devices now is its baseline."""
        if root == (self._tree and self._tree.root):
            return
        self._tree = None if root is None else Tree(root, self._settings.marker)
        for gpu in self._gpus:
            gpu.baseline = gpu.used_now()[0]
            self._earlier[gpu.uuid] = set(gpu.processes()[0] or ())

    def host(self, pss: bool = False, interference: bool = True) -> None:
        """Record the tree's and the host's memory."""
        record = host(self._tree, pss, interference)
        self._trace.put(record)
        self._host = record

    def tick(self, now: int) -> None:
        """Record the tree's resident memory at a tick; all of it when that is due."""
        if self._full_due.come(now):
            self.host(interference=self._interference_due.come(now))
        elif record := resident(self._tree):
            self._trace.put(record)

    def _pss(self) -> None:
        if self._tree is not None:
            self.host(pss=True, interference=False)

    def _host_due(self) -> None:
        begun = clock.now()
        pss = self._tree is not None and self._pss_due.come(begun)
        self.host(pss, self._interference_due.come(begun))
        if pss and self._gpus:
            now = clock.now()
            self._pss_due.due = max(self._pss_due.due, now + round((now - begun) / PSS_SHARE))

    def processes(self) -> None:
        """Record who is on each device."""
        for gpu in self._gpus:
            self._trace.put(procs(gpu, self._tree, self._earlier[gpu.uuid]))

    def progress(self) -> None:
        """Tell the orchestrator where memory stands, by the latest readings: it never waits."""
        devices = [gpu.latest() for gpu in self._gpus]
        seen = self._host
        host = msgspec.convert(seen, HostNow, from_attributes=True) if seen else HostNow()
        self._channel.send(Readings(devices=devices, host=host))

    def state(self) -> list[DeviceState]:
        """Return what is on each device now, for the certificate that it is clean."""
        return [self._state(gpu) for gpu in self._gpus]

    def _state(self, gpu: Gpu) -> DeviceState:
        used, no_bytes = gpu.used_now()
        pids, no_list = gpu.processes()
        why = {name: text for name, text in (("used", no_bytes), ("pids", no_list)) if text}
        rows = None
        if pids is not None:
            rows = [ProcessOnDevice(pid=pid, bytes=size) for pid, size in pids.items()]
        return DeviceState(uuid=gpu.uuid, used=used, pids=rows, why=why)

    def last(self) -> None:
        """Take the last readings: memory, processes, energy, the tree."""
        for gpu in self._gpus:
            self._trace.put(gpu.sample())
            self._trace.put(gpu.energy("stop"))
        self.processes()
        self.host()
