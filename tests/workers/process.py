"""A worker process for the tests: `python -m tests.workers.process config.json`.

As `traces.control.enter`, with a channel that writes what the worker says to messages.jsonl.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import cast

import msgspec

from traces import control
from traces.job import Job
from traces.messages import Go, Message
from workers import loop


class Channel:
    """Writes messages down, and answers every question with go."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message) -> None:
        with self._path.open("ab") as stream:
            stream.write(msgspec.json.encode(message) + b"\n")

    def receive(self, timeout: float | None = 0.0) -> Message | None:
        return Go()


def main(path: str) -> int:
    job = msgspec.json.decode(Path(path).read_bytes(), type=Job)
    channel = Channel(Path(job.folder, "messages.jsonl"))
    try:
        loop.main(job, cast(control.Channel, channel))
    except Exception as error:
        traceback.print_exc()
        channel.send(control.describe(error))
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # the engine of a failed worker may run on; the orchestrator would kill it
