"""The worker: echoes the prompt's ids, one a step, and does at its third step what it is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from traces import clock
from traces.errors import Problem
from traces.facts import EngineFacts
from traces.job import Job, Prompt
from traces.kv import bytes_per_token
from traces.layout import CacheGroup, Layout
from traces.records import Slots
from workers.backend import Came, Recorder, Tell

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
LEAVE: dict[str, dict[str, Any]] = {
    "stubborn": {},
    "session": {"start_new_session": True},
    "group": {"process_group": 0},
    "nameless": {"env": {}},  # as an engine that writes its title over its environment
}


class Worker:
    """Options: `step_s` seconds a step; `say` on stdout; `leave` a process behind that ignores
    SIGTERM, in another session or group, or with no environment; `hold` still while that file
    exists; `act` badly.
    """

    longest = 1 << 20

    def __init__(self, job: Job, recorder: Recorder) -> None:
        self.options = job.options
        self.job = job
        self.recorder = recorder
        self.steps = 0
        self.queue: list[Prompt] = []

    def prepare(self) -> None:
        print(self.options.get("say", "importing nothing"), flush=True)

    def open(self) -> None:
        pass

    def submit(self, prompt: Prompt, due: int) -> None:
        self.queue.append(prompt)

    def step(self, until: int, tell: Tell) -> bool:
        prompt = self.queue.pop(0)
        ids = (prompt.prompt_ids * prompt.output_tokens)[: prompt.output_tokens]
        start = clock.now()
        for step, token in enumerate(ids, start=1):
            stored = len(prompt.prompt_ids) + step - 1
            self.recorder.kv(clock.now(), Slots(stored, stored), running=1)
            time.sleep(self.options.get("step_s", 0.001))
            self._misbehave(prompt)
            ended = step == prompt.output_tokens
            if tell([Came(prompt.id, [token], clock.now(), ended, start)]):
                break
        return True

    def cancel(self, tell: Tell) -> None:
        self.queue.clear()

    def memory(self, where: str) -> None:
        self.recorder.alloc(where)

    def layout(self) -> Layout:
        model = json.loads(Path(self.job.model, "config.json").read_bytes())
        head = model.get("head_dim") or model["hidden_size"] // model["num_attention_heads"]
        sizes = model["num_hidden_layers"], model["num_key_value_heads"], head
        token = bytes_per_token(*sizes, self.job.dtype)
        return Layout(kind="dynamic", groups=[CacheGroup(bytes_per_token=token)])

    def facts(self) -> EngineFacts:
        return EngineFacts(extras={"environment": sorted(os.environ)})

    def close(self) -> None:
        print("closed", flush=True)

    def _misbehave(self, prompt: Prompt) -> None:
        if prompt.id.startswith("warmup"):
            return
        self.steps += 1
        if self.steps != 3:
            return
        if leave := self.options.get("leave"):
            subprocess.Popen([sys.executable, "-c", STUBBORN], **LEAVE[leave])
        while "hold" in self.options and Path(self.options["hold"]).exists():
            self.recorder.kv(clock.now(), Slots(1, 1), running=1)
            time.sleep(0.01)
        self._act(self.options.get("act"))

    def _act(self, what: str | None) -> None:
        if what:
            print(f"about to: {what}", flush=True)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(7)
        if what == "memory":
            raise MemoryError
        if what == "cuda":
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 MiB\nand a second line")
        if what == "error":
            raise ValueError("a bug of the engine's")
        if what == "usage":
            raise Problem("the engine does not do that: ask for something else")
