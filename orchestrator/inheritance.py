"""What a child takes over from us by being started, held back while it is."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Replace the environment while a child starts: multiprocess hands it ours, whole."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C for what starts here: the child is of our terminal until it leaves our session.

    It unblocks the signal itself (`control.enter`). What comes for us meanwhile comes afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """Hide our main module: spawn would import it, and with it the orchestrator, in the child."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
