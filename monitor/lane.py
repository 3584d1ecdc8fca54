"""The slow lane: a thread for readings that would make the fast ticks late.

Process lists, energy counters, PSS and searches of /proc take milliseconds, most of it inside the
kernel or the driver, where the interpreter lock is released. Orders (phase edges, questions of the
orchestrator) go before what is periodic. An error stops the lane and is raised in the main thread.
"""

import queue
import threading
from collections.abc import Callable

from monitor.ticks import NEVER, NS, Every
from traces import clock

Job = Callable[[], None]


class Lane:
    """Runs jobs in order, and periodic ones when none is waiting, in a thread of its own."""

    def __init__(self, periodic: list[tuple[Every, Job]]) -> None:
        self._periodic = periodic
        self._orders: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="slow-lane", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def post(self, job: Job) -> None:
        """Run this next."""
        self._orders.put(job)

    def check(self) -> None:
        """Raise here what stopped the lane."""
        if self._error:
            raise self._error

    def stop(self, within_s: float) -> bool:
        """Finish the orders that wait, then end; says whether it did, within so many seconds."""
        self._orders.put(None)
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while True:
                job = self._next_order()
                if job is None:
                    return
                job()
        except BaseException as error:
            self._error = error

    def _next_order(self) -> Job | None:
        while True:
            due = min((every.due for every, _ in self._periodic), default=NEVER)
            wait = max(0.0, min((due - clock.now()) / NS, 60.0))
            try:
                return self._orders.get(timeout=wait)
            except queue.Empty:
                now = clock.now()
                for every, job in self._periodic:
                    if every.come(now):
                        job()
