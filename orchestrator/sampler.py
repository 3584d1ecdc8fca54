"""The orchestrator's side of the sampler: start it, tell it what happens, ask what it sees."""

import time
from pathlib import Path
from typing import Any

from orchestrator import compiler, environment
from orchestrator.supervise import Child
from traces.errors import Broken, Problem

READY_S, ANSWER_S = 30.0, 5.0


class Sampler:
    """The running sampler process. It may die; `alive` says so, and what it wrote stays."""

    def __init__(self, trace: Path, log: Path, interval_s: float, **settings: Any) -> None:
        """Start it and wait until it is ready. `settings` are those of monitor/settings.py."""
        self.trace = trace
        self._told = ""
        config = {"path": str(trace), "interval_s": interval_s, **compiler.ticker(), **settings}
        self._child = Child(
            "sampler", "monitor.sampler:main", config, log, environment.for_worker()
        )
        begun = time.monotonic()
        try:
            ready = self._await("ready", READY_S)
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
        self.devices: list[dict[str, Any]] = ready["devices"]
        self.no_devices: str = ready.get("reason") or ""

    @property
    def alive(self) -> bool:
        return self._child.alive

    def mark(
        self, cell: str, phase: str, edge: str, watching: int | None, wait_s: float = 0.0
    ) -> None:
        """Tell that a phase begins or ends: the sampler reads the dear values then.

        With `wait_s`, wait that long for them to be read; one that does not answer is no failure.
        """
        names = {"cell": cell, "phase": phase, "edge": edge}
        self._drain()
        self._child.send("mark", **names, watching=watching, reply=wait_s > 0)
        if wait_s:
            self._await("marked", wait_s)

    def state(self) -> dict[str, Any] | None:
        """Ask for memory and processes as they are now; None when no answer comes."""
        self._drain()
        self._child.send("state")
        return self._await("state", ANSWER_S)

    def progress(self, patience: float, also: int) -> dict[str, Any] | None:
        """Return the next progress message (settings ask for them); None when none comes.

        Readiness of the descriptor `also` ends the wait too.
        """
        return self._await("progress", patience, also)

    def stop(self) -> dict[str, Any]:
        """Stop it in order and return what it achieved (empty if it died before)."""
        self._child.send("stop")
        done = self._await("done", ANSWER_S) or {}
        self._child.stop()
        return {key: value for key, value in done.items() if key != "kind"}

    def failure(self) -> str:
        """Say how it ended."""
        if self._told:
            return self._told
        lines = self._child.tail()
        return f"{self._child.exit}{': ' + lines[-1] if lines else ''}"

    def _drain(self) -> None:
        """Take what it said until now: it answers older questions."""
        while (message := self._child.message(0)) is not None:
            if message["kind"] == "failed":
                self._told = message["message"]

    def _await(self, kind: str, patience: float, also: int | None = None) -> dict[str, Any] | None:
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            message = self._child.message(left, also)
            if message is None:
                return None
            if message["kind"] == "failed":
                self._told = message["message"]
                return None
            if message["kind"] == kind:
                return message
        return None
