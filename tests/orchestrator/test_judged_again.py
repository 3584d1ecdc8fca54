"""A judge that broke leaves no verdict: a run that goes on asks again."""

from pathlib import Path

import pytest

from orchestrator import parity
from orchestrator.store import Folder
from traces.cell import About
from traces.errors import Broken, Problem
from traces.parity import Judged, Parity


class Child:
    def __init__(self, *asked):
        self.log = Path("parity.log")

    def stop(self, ask_s):
        return []


@pytest.mark.parametrize("error", [Broken("parity: killed by SIGKILL"), Problem("no room")])
def test_again(tmp_path, monkeypatch, error):
    (tmp_path / "cells" / "a.r0").mkdir(parents=True)
    folder, cell = Folder(tmp_path), Folder(tmp_path / "cells" / "a.r0")
    cell.write("cell.json", About(label="a", backend="b", folder="a.r0", status="ok", reason=""))
    verdict = Parity(verdict="pass", method="m", reference="a.r0", identical=1, compared=1, note="")
    asked = []

    def answered(child, kind, show):
        asked.append(kind)
        if len(asked) == 1:
            raise error
        return Judged(parity={"a.r0": verdict})

    monkeypatch.setattr(parity, "Child", Child)
    monkeypatch.setattr(parity, "answered", answered)
    for expected in ("n/a", "pass", "pass"):
        parity.judge(folder, "model", "cpu", "float32", False, lambda event: None)
        found = folder.cells()["a.r0"].parity
        assert found is not None
        assert found.verdict == expected
    assert len(asked) == 2
