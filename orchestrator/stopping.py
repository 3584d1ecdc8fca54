"""Stop in order: SIGTERM as Ctrl-C, and a stretch that neither of them cuts short."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def in_order() -> Iterator[None]:
    """Let SIGTERM and SIGHUP (systemd, a closed terminal) raise KeyboardInterrupt, as Ctrl-C.

    What is ignored stays ignored: under nohup, a closed terminal is no reason to stop.
    """
    heard = [number for number in ASKED if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _interrupt) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold such signals back until the end: for cleaning up.

    By handlers, not by a mask: any other thread would take a masked signal for us, and children
    would be born with the mask.
    """
    came: list[int] = []
    heard = [number for number in ASKED if signal.getsignal(number) != signal.SIG_IGN]
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
