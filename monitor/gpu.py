"""One watched device: its readings as records, its baseline, and what happens when it is lost.

A value that NVML refuses is null with the reason. What a device does not offer is asked once and
then no more. A lost device is asked again after 1 s, 2 s, up to 30 s, NVML being opened anew
before, so that it is picked up after a driver reset; each silence is one null sample.

Memory and load are read by the ticker. What it does not write itself becomes lines here
(`silent_line`, `load_line`), in whatever thread writes the trace. `look_after` and `wire` run in
the ticker's thread, while it does not tick.
"""

from collections.abc import Callable
from typing import Any

from monitor.compiled import CODE, NOT_ASKED, TIME, WORD, Group, Row
from monitor.nvml import LACKING, Library, Numbers, NvmlDevice, Reason, Then, throttle_names
from monitor.reasons import of
from monitor.ticks import NEVER, NS
from monitor.trace import template
from traces import clock
from traces.records import Energy, Gap, Load, Record, Sample
from traces.sampling import DeviceNow
from traces.writer import encoded

Note = Callable[[Record], None]

FIRST_REST_NS, LONGEST_REST_NS = NS, 30 * NS
NO_RESERVED = "NVML memory version 1: `used` holds the driver's reservation"


class Gpu:
    """A device and what is known about it."""

    def __init__(self, device: NvmlDevice, library: Library) -> None:
        self.device = device
        self.uuid = device.uuid
        self.nvml = library
        library.watched.append(device)
        self.baseline: int | None = None
        self.ask_at = NEVER
        self._load: Load | None = None
        self._rest = FIRST_REST_NS
        self._lost_since = 0
        self._lost_why = ""
        self._refused: dict[str, Reason] = {}
        self._closed: set[str] = set()  # what is not asked any more, until the driver is another

    def use(self, memory: Group, load: Group) -> None:
        """Have these groups of the ticker read the device."""
        self._memory, self._loads = memory, load
        memory.code = NOT_ASKED
        self.wire()

    def wire(self) -> None:
        """Say what the ticker is to call: handles change when NVML is opened anew."""
        calls = self.device.load
        self._memory.count, self._loads.count = 1, len(calls)
        self._memory.calls[0].fill(self.device.memory)
        self._memory.write(self._sample_template(), self.device.places)
        for slot, call in zip(self._loads.calls, calls.values(), strict=True):
            slot.fill(call)
        for name in list(self._closed):
            self._ask_no_more(name)

    def _ask_no_more(self, name: str) -> None:
        if name in self.device.load:
            self._loads.calls[list(self.device.load).index(name)].function = None

    @property
    def used(self) -> int | None:
        """Bytes in use at the latest reading; None when that failed."""
        memory = self._memory
        return None if memory.code else int(memory.latest)

    def silent_line(self, row: Row) -> bytes:
        """Return the line of a memory reading that failed."""
        return encoded(self._silent(of(row[CODE]), row[TIME]))

    def _sample_template(self) -> bytes:
        names = ("used", "free", "reserved")[: len(self.device.places)]
        blank = Sample(t=0, uuid=self.uuid, used=None, free=None, reserved=None)
        blank.why = None if "reserved" in names else {"reserved": NO_RESERVED}
        return template(blank, *names)

    def _silent(self, reason: Reason, t: int = 0) -> Sample:
        why = dict.fromkeys(("used", "free", "reserved"), reason.text)
        return Sample(t=t, uuid=self.uuid, used=None, free=None, reserved=None, why=why)

    def look_after(self, note: Note, interval: int) -> None:
        """See to a device whose memory cannot be read: ask again when it is time."""
        if not self._memory.resting:
            return
        if not self._lost_since:
            self._failed(of(self._memory.code), interval)
        elif clock.now() >= self.ask_at:
            self._ask_again(note, interval)

    def _ask_again(self, note: Note, interval: int) -> None:
        numbers, reason = self._read()
        if reason and reason.then is Then.REOPEN:
            self.nvml.reopen()
            numbers, reason = self._read()
        if not reason:
            note(self._recovered())
        note(self._sample(numbers, reason))
        if reason:
            self._failed(reason, interval)
        else:
            self._closed.clear()
            self._memory.resting = 0

    def _failed(self, reason: Reason, interval: int) -> None:
        now = clock.now()
        self._lost_since = self._lost_since or now
        self._lost_why = reason.text
        if reason.then is Then.AGAIN:
            self.ask_at = now + interval
        else:
            self.ask_at = now + self._rest
            self._rest = min(2 * self._rest, LONGEST_REST_NS)

    def _recovered(self) -> Gap:
        span = clock.now() - self._lost_since
        self._lost_since = 0
        self.ask_at = NEVER
        self._rest = FIRST_REST_NS
        return Gap(t=0, missed=0, span=span, cause=f"{self.uuid}: {self._lost_why}")

    def load_line(self, row: Row) -> bytes:
        """Return the line of utilisation, power, clocks, temperature and throttle reasons."""
        why: dict[str, str] = {}
        util, power, sm_clock, mem_clock, temperature, mask = (
            self._number(name, code, word, why)
            for name, code, word in zip(self.device.load, row[CODE:WORD], row[WORD:], strict=True)
        )
        if util is None:
            why["gpu_util"] = why["mem_util"] = why.pop("util")
        self._load = Load(
            t=row[TIME],
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

    def _number(self, name: str, code: int, word: int, why: dict[str, str]) -> int | None:
        if code == 0:
            return word
        if code == NOT_ASKED:  # perhaps of before a reset, after which it is asked again
            why[name] = self._refused.get(name, of(LACKING)).text
        else:
            self._refuse(name, of(code), why)
        return None

    def latest(self) -> DeviceNow:
        """Return the latest readings, for showing, and the highest since this was last asked."""
        load = self._load
        silent = clock.now() - self._memory.read_at if self._memory.read_at else 0
        used, highest = self.used, int(self._memory.highest)
        self._memory.highest = 0
        return DeviceNow(
            uuid=self.uuid,
            used=used,
            highest=highest or used,
            silent_s=silent / NS,
            why=self._lost_why if self._lost_since else None,
            total=self.device.total,
            gpu_util=load.gpu_util if load else None,
            power_w=load.power_w if load else None,
        )

    def sample(self) -> Sample:
        """Read the memory now, from any thread."""
        return self._sample(*self._read())

    def _sample(self, numbers: Numbers | None, reason: Reason | None) -> Sample:
        if numbers is None:
            return self._silent(reason or of(LACKING))
        why = {"reserved": NO_RESERVED} if numbers.reserved is None else None
        return Sample(t=0, uuid=self.uuid, why=why, **numbers._asdict())

    def used_now(self) -> tuple[int | None, str | None]:
        """Read the bytes in use, from any thread: (bytes, None) or (None, why)."""
        numbers, reason = self._read()
        return numbers and numbers.used, reason and reason.text

    def _read(self) -> tuple[Numbers | None, Reason | None]:
        with self.nvml.lock:
            return self.device.read()

    def energy(self, where: str) -> Energy:
        """Read the energy counter; slow."""
        why: dict[str, str] = {}
        with self.nvml.lock:
            total = self._value("total_mj", self.device.energy, why)
        return Energy(t=0, uuid=self.uuid, total_mj=total, where=where, why=why or None)

    def processes(self) -> tuple[dict[int, int | None] | None, str | None]:
        """Read the process list: pid to bytes, or None and why."""
        why: dict[str, str] = {}
        with self.nvml.lock:
            found = self._value("pids", self.device.processes, why)
        return found, why.get("pids")

    def _value(
        self, name: str, call: Callable[[], tuple[Any, Reason | None]], why: dict[str, str]
    ) -> Any:
        refused = self._refused[name] if name in self._closed else None
        value, reason = (None, refused) if refused else call()
        if reason:
            self._refuse(name, reason, why)
        return value

    def _refuse(self, name: str, reason: Reason, why: dict[str, str]) -> None:
        why[name] = reason.text
        if reason.then is Then.NEVER:
            self._refused[name] = reason
            self._closed.add(name)
            self._ask_no_more(name)
