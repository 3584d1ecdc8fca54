"""Helper processes of a run, which answer one question and end: what they say, or why nothing."""

import time
from typing import TypeVar

from orchestrator.events import Show, Tick
from orchestrator.supervise import Child
from traces.errors import Broken, Problem
from traces.messages import Failed, Message, Phase
from traces.preparing import Note

PATIENCE_S = 3600.0
POLL_S = 0.25

Answer = TypeVar("Answer", bound=Message)


def answered(child: Child, kind: type[Answer], show: Show) -> Answer:
    """Wait for a helper process's answer. Raises Problem when it gives none."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        message = child.message(POLL_S)
        if message is None:
            if not child.alive:
                break
        elif isinstance(message, kind):
            return message
        elif isinstance(message, Failed) and message.error == Problem.__name__:
            raise Problem(message.message)
        elif isinstance(message, Failed):
            raise Broken(f"{message.error}: {message.message} (see {child.log})")
        elif isinstance(message, Phase | Note):
            show(message)
        show(Tick())
    lines = child.tail()
    raise Broken(
        f"{child.name}: {child.exit} ({lines[-1] if lines else 'no log'}; see {child.log})"
    )
