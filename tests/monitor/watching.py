"""`pagedbench monitor` running, as a user starts it."""

import json
import os
import subprocess
import sys
import time

from tests.monitor.double import ROOT
from traces.reader import read


class Watch:
    """The verb running: its folder, what it printed, its exit code."""

    def __init__(self, folder, driver, *options, command=(), **settings):
        self.folder = folder / "watch"
        argv = ["--out", str(self.folder), *options, *(["--", *command] if command else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "monitor", *argv],
            cwd=ROOT,
            env={**os.environ, **driver.environment},
            text=True,
            start_new_session=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
        )

    def end(self, patience=30):
        self.out, self.err = self.process.communicate(timeout=patience)
        return self.process.returncode

    @property
    def summary(self):
        return json.loads((self.folder / "summary.json").read_text())

    def of(self, kind):
        """The records of this kind that are on disk; none while the header is not."""
        trace = self.folder / "samples.jsonl"
        found = list(read(trace)) if trace.exists() and trace.stat().st_size else []
        return [record for record in found if isinstance(record, kind)]

    def until(self, kind, patience=10):
        end = time.monotonic() + patience
        while not self.of(kind):
            assert time.monotonic() < end, self.process.poll()
            time.sleep(0.05)
