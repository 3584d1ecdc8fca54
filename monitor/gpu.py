"""One watched device: its readings as records, its baseline, and what happens when it is lost.

A value that NVML refuses is null with the reason. What a device does not offer is asked once and
then no more. A lost device is asked again after 1 s, 2 s, up to 30 s, NVML being opened anew
before, so that it is picked up after a driver reset; each silence is one null sample.
"""

from collections.abc import Callable
from typing import Any

from monitor.nvml import Device, Library, Reason, Then, throttle_names
from monitor.reasons import of
from monitor.ticks import NS
from monitor.trace import Trace, template
from traces import clock
from traces.records import Energy, Gap, Load, Sample
from traces.writer import encoded

FIRST_REST_NS, LONGEST_REST_NS = NS, 30 * NS
NO_RESERVED = "NVML memory version 1: `used` holds the driver's reservation"


class Gpu:
    """A device and what is known about it."""

    def __init__(self, device: Device, library: Library) -> None:
        self.device = device
        self.uuid = device.uuid
        self.library = library
        library.watched.append(device)
        self._highest = 0
        self._load: Load | None = None
        self.baseline: int | None = None
        self._rest = FIRST_REST_NS
        self._rest_until = 0
        self._lost_since = 0
        self._lost_why = ""
        self._refused: dict[str, Reason] = {}
        self._template = self._sample_template()

    def sample(self, trace: Trace) -> None:
        """Read the memory now and write it down; nothing while a lost device rests."""
        if self._lost_since:
            self._ask_again(trace)
            return
        memory = self.device.memory
        code = memory.read()
        if code:
            trace.put(self._failed(code))
            return
        trace.note(self._sample_line, memory.raw())

    @property
    def used(self) -> int | None:
        """Bytes in use at the latest reading; None when that was refused."""
        return None if self._lost_since else self.device.memory.info.used

    def _sample_line(self, noted: tuple[int, bytes]) -> bytes:
        t, raw = noted
        now = self.device.memory.numbers(raw)
        self._highest = max(self._highest, now.used)
        if now.reserved is None:
            return self._template % (t, now.used, now.free)
        return self._template % (t, now.used, now.free, now.reserved)

    def _sample_template(self) -> bytes:
        blank = Sample(t=0, uuid=self.uuid, used=None, free=None, reserved=None)
        if self.device.memory.version == 2:
            return template(blank, "used", "free", "reserved")
        blank.why = {"reserved": NO_RESERVED}
        return template(blank, "used", "free")

    def _ask_again(self, trace: Trace) -> None:
        if clock.now() < self._rest_until:
            return
        code = self.device.memory.read()
        if code and of(code).then is Then.REOPEN:
            self.library.reopen()
            code = self.device.memory.read()
        if code:
            trace.put(self._failed(code))
        else:
            trace.put(self._recovered())
            self.sample(trace)

    def _failed(self, code: int) -> Sample:
        reason = of(code)
        now = clock.now()
        self._lost_since = self._lost_since or now
        self._lost_why = reason.text
        if reason.then is not Then.AGAIN:
            self._rest_until = now + self._rest
            self._rest = min(2 * self._rest, LONGEST_REST_NS)
        why = dict.fromkeys(("used", "free", "reserved"), reason.text)
        return Sample(t=0, uuid=self.uuid, used=None, free=None, reserved=None, why=why)

    def _recovered(self) -> Gap:
        span = clock.now() - self._lost_since
        self._lost_since = self._rest_until = 0
        self._rest = FIRST_REST_NS
        self._refused.clear()
        return Gap(t=0, missed=0, span=span, cause=f"{self.uuid}: {self._lost_why}")

    def load(self, trace: Trace) -> None:
        """Read utilisation, power, clocks, temperature and throttle reasons; write them down."""
        why: dict[str, str] = {}
        got = [self._value(name, read, why) for name, read in self.device.load.items()]
        trace.note(self._load_line, why, *got)

    def _load_line(self, noted: tuple[Any, ...]) -> bytes:
        t, why, util, power, sm_clock, mem_clock, temperature, mask = noted
        if util is None:
            why["gpu_util"] = why["mem_util"] = why.pop("util")
        self._load = Load(
            t=t,
            uuid=self.uuid,
            gpu_util=None if util is None else util & 0xFFFFFFFF,
            mem_util=None if util is None else util >> 32,
            power_w=None if power is None else power / 1000,
            sm_clock=sm_clock,
            mem_clock=mem_clock,
            temperature=temperature,
            throttle=None if mask is None else throttle_names(mask),
            why=why or None,
        )
        return encoded(self._load)

    def latest(self) -> dict[str, Any]:
        """Return the latest readings, for showing, and the highest since this was last asked."""
        load = self._load
        highest, self._highest = self._highest, 0
        return {
            "uuid": self.uuid,
            "used": self.used,
            "highest": highest or self.used,
            "total": self.device.memory.info.total,
            "gpu_util": load and load.gpu_util,
            "power_w": load and load.power_w,
        }

    def energy(self, where: str) -> Energy:
        """Read the energy counter; slow."""
        why: dict[str, str] = {}
        with self.library.lock:
            total = self._value("total_mj", self.device.energy, why)
        return Energy(t=0, uuid=self.uuid, total_mj=total, where=where, why=why or None)

    def used_now(self) -> tuple[int | None, str | None]:
        """Read the bytes in use, from any thread: (bytes, None) or (None, why)."""
        with self.library.lock:
            used, reason = self.device.used()
        return used, reason and reason.text

    def processes(self) -> tuple[dict[int, int | None] | None, str | None]:
        """Read the process list: pid to bytes, or None and why."""
        why: dict[str, str] = {}
        with self.library.lock:
            found = self._value("pids", self.device.processes, why)
        return found, why.get("pids")

    def _value(
        self, name: str, call: Callable[[], tuple[Any, Reason | None]], why: dict[str, str]
    ) -> Any:
        refused = self._refused.get(name)
        value, reason = (None, refused) if refused else call()
        if reason:
            why[name] = reason.text
            if reason.then is Then.NEVER:
                self._refused[name] = reason
        return value
