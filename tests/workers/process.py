"""A worker process for the tests: `python -m tests.workers.process config.json`.

As `traces.control.enter`, with a channel that writes what the worker says to messages.jsonl.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, cast

from traces import control
from workers import loop


class Channel:
    """Writes messages down, and answers every question with go."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, kind: str, **fields: Any) -> None:
        with self._path.open("a") as stream:
            stream.write(json.dumps({"kind": kind, **fields}) + "\n")

    def receive(self, timeout: float | None = 0.0) -> control.Message | None:
        return {"kind": "go"}


def main(path: str) -> int:
    config = json.loads(Path(path).read_text())
    channel = Channel(Path(config["folder"], "messages.jsonl"))
    try:
        loop.main(config, cast(control.Channel, channel))
    except Exception as error:
        traceback.print_exc()
        channel.send("failed", **control.describe(error))
        return 1
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)  # the engine of a failed worker may run on; the orchestrator would kill it
