"""The orchestrator's side of the sampler: start it, tell it what happens, ask what it sees."""

import time
from pathlib import Path
from typing import TypeVar

from msgspec import structs

from orchestrator import compiler, environment
from orchestrator.supervise import Child
from traces.cell import DeviceState
from traces.errors import Broken, Problem
from traces.messages import Edge, Failed, Message, Stop
from traces.records import Device, End
from traces.sampling import Look, Mark, Marked, Readings, Sampled, Settings, State, Watching

READY_S, ANSWER_S = 30.0, 5.0
Said = TypeVar("Said", bound=Message)


class SamplerProcess:
    """The running sampler process. It may die; `alive` says so, and what it wrote stays."""

    def __init__(self, settings: Settings, log: Path) -> None:
        """Start it and wait until it is ready; the compiled ticker is added to its settings."""
        self._told = ""
        settings = structs.replace(settings, **compiler.ticker())
        self._child = Child(
            "sampler", "monitor.sampler:main", settings, log, environment.for_worker()
        )
        begun = time.monotonic()
        try:
            ready = self._await(Watching, READY_S)
        except KeyboardInterrupt:
            self._child.kill()
            raise
        if ready is None:
            late = time.monotonic() - begun >= READY_S
            lines = self._child.tail()
            self._child.kill()
            if self._told:
                raise Problem(f"the sampler does not start ({self._told})")
            if late:
                raise Broken(
                    f"the sampler was not ready in {READY_S:g} s: does the driver answer? "
                    "See `nvidia-smi`"
                )
            raise Broken(f"the sampler does not start ({lines[-1] if lines else 'no log'})")
        self.devices: list[Device] = ready.devices
        self.no_devices: str = ready.reason or ""

    @property
    def alive(self) -> bool:
        return self._child.alive

    def mark(
        self, cell: str, phase: str, edge: Edge, watching: int | None, wait_s: float = 0.0
    ) -> None:
        """Tell that a phase begins or ends: the sampler reads the dear values then.

        With `wait_s`, wait that long for them to be read; one that does not answer is no failure.
        """
        self._drain()
        self._child.send(
            Mark(cell=cell, phase=phase, edge=edge, watching=watching, reply=wait_s > 0)
        )
        if wait_s:
            self._await(Marked, wait_s)

    def state(self) -> list[DeviceState] | None:
        """Ask for memory and processes as they are now; None when no answer comes."""
        self._drain()
        self._child.send(Look())
        state = self._await(State, ANSWER_S)
        return None if state is None else state.devices

    def readings(self, patience: float, also: int) -> Readings | None:
        """Return the next readings (settings ask for them); None when none come.

        Readiness of the descriptor `also` ends the wait too.
        """
        return self._await(Readings, patience, also)

    def stop(self) -> End | None:
        """Stop it in order and return what it achieved (None if it died before)."""
        self._child.send(Stop())
        done = self._await(Sampled, ANSWER_S)
        self._child.stop()
        return None if done is None else done.account

    def failure(self) -> str:
        """Say how it ended."""
        if self._told:
            return self._told
        lines = self._child.tail()
        return f"{self._child.exit}{': ' + lines[-1] if lines else ''}"

    def _drain(self) -> None:
        """Take what it said until now: it answers older questions."""
        while (message := self._child.message(0)) is not None:
            if isinstance(message, Failed):
                self._told = message.message

    def _await(self, kind: type[Said], patience: float, also: int | None = None) -> Said | None:
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            message = self._child.message(left, also)
            if message is None:
                return None
            if isinstance(message, Failed):
                self._told = message.message
                return None
            if isinstance(message, kind):
                return message
        return None
