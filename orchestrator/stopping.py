"""Stop in order: SIGTERM as Ctrl-C, and a stretch that neither of them cuts short."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def heard_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let this handler hear of them: Ctrl-C, SIGTERM (systemd), SIGHUP (a closed terminal).

    What is ignored stays ignored: under nohup, a closed terminal is no reason to stop.
    """
    heard = [number for number in ASKED if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C."""
    with heard_by(_interrupt):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold such signals back until the end: for cleaning up.

    By handlers, not by a mask: any other thread would take a masked signal for us, and children
    would be born with the mask.
    """
    came: list[int] = []
    try:
        with heard_by(lambda number, _: came.append(number)):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
