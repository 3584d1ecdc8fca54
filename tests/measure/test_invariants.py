"""Numbers that cannot be make a cell invalid, and say which law they break."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from measure import canonical
from measure.build import Run, build
from measure.invariants import broken
from measure.result import Share
from tests.measure.folder import Folder, at, contiguous, host, meta, request, step
from traces.records import Blocks, Kv, LaidOut, Record

ROOT = Path(__file__).parents[2]
ASKED = [{"id": "a", "text": None, "prompt_ids": [1] * 10, "output_tokens": 3}]
SLOTS = 100


def recorded(path: Path, records: list[Record], **about: Any) -> Path:
    """A run folder with one cell of these records, its result from when all was well."""
    folder = Folder(path)
    folder.cell("hf-static", records, **{"requests_asked": 1, **about})
    folder.samples([host(99, 100), host(320, 400), host(399, 50)])
    (path / "workload.json").write_text(
        json.dumps({"name": "one", "sha256": "", "requests": ASKED})
    )
    (path / "result.json").write_bytes(canonical.dumps(build(path, meta())))
    return path


def replaced(record: Record) -> Callable[[], list[Record]]:
    """The records with this one in place of the first of its kind at its time."""

    def make() -> list[Record]:
        records = contiguous(SLOTS)
        same = [r for r in records if type(r) is type(record) and r.t == record.t]
        records[records.index(same[0])] = record
        return records

    return make


def without_requests() -> list[Record]:
    return [record for record in contiguous(SLOTS) if type(record).__name__ != "Request"]


def early(record: Record) -> Record:
    """A step's token counted one step before it is computed."""
    if not isinstance(record, Kv) or not record.running:
        return record
    (slots,) = record.groups
    slots = msgspec.structs.replace(slots, stored=slots.stored + 1)
    return msgspec.structs.replace(record, groups=[slots])


def one_head_more(record: Record) -> Record:
    """Tensors with a head more than the model has."""
    if isinstance(record, LaidOut):
        record.layout.group.bytes_per_token = 2048
    return record


BREACHES = {
    "0 <= stored: stored -1, bound 0": replaced(step(310, -1, SLOTS)),
    "stored <= held: stored 101, bound 100": replaced(step(310, 101, SLOTS)),
    "held <= pool: held 100, bound 50": replaced(step(310, 11, SLOTS, pool=50)),
    # one request runs for all of the 40 ms, slots are held for 30 of them
    "peak >= mean: running 1 at most, 1.33333 on average": replaced(step(330, 0, 0)),
    "times in order: request a: first token at": replaced(
        request("a", 10, 3, 300, 335, 330, 300)
    ),
    "tokens out as asked: request a: 2 tokens, 3 were asked for": replaced(
        request("a", 10, 2, 300, 310, 330, 300)
    ),
    # the cache's own length, and ten in with three out
    "stored at the last step: request a: 13, of 10 in and 3 out": replaced(
        Blocks(t=at(330), request="a", lost=[0], stored=13)
    ),
    # 11 and 12 in the two decode steps; counted when they are scheduled, 12 and 13
    "stored in decode steps: 25 by the counts, 23 by the lengths, over 2 records": (
        lambda: [early(record) for record in contiguous(SLOTS)]
    ),
    # two heads where the shape has one
    "bytes per token as the shape gives: 2048 by the tensors, 1024 by the shape": (
        lambda: [one_head_more(record) for record in contiguous(SLOTS)]
    ),
    "tokens out as asked: 0 requests ended, 1 were asked for": without_requests,
}  # fmt: skip


@pytest.mark.parametrize("law", BREACHES)
def test_a_breach_makes_the_cell_invalid_and_the_report_exit_with_4(tmp_path, law):
    folder = recorded(tmp_path, BREACHES[law]())
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "report", folder],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (4, "")
    (cell,) = canonical.loads(folder / "result.json").cells
    assert cell.status == "invalid"
    assert cell.reason.startswith(law)
    assert f"invalid: {law.split(':')[0]}" in " ".join(done.stdout.split())


def test_numbers_that_keep_the_laws_stay_as_they_are(tmp_path):
    (cell,) = build(recorded(tmp_path, contiguous(SLOTS)), meta()).cells
    assert (cell.status, cell.reason) == ("ok", "")


def test_a_run_that_was_cut_short_says_so_and_is_no_breach(tmp_path):
    folder = recorded(tmp_path, without_requests(), truncated="time budget of 1 s")
    assert build(folder, meta()).cells[0].status == "ok"


def test_a_cell_that_failed_keeps_its_own_reason(tmp_path):
    folder = recorded(tmp_path, without_requests(), status="crashed", reason="signal 9")
    (cell,) = build(folder, meta()).cells
    assert (cell.status, cell.reason) == ("crashed", "signal 9")


def test_shares_that_are_no_whole(tmp_path):
    """An efficiency of 0.0825, and half of the slots internal where 0.91 are."""
    run = Run(recorded(tmp_path, contiguous(SLOTS)))
    (cell,) = build(run.folder, meta(), run).cells
    assert cell.kv is not None
    waste = {**cell.kv.waste, "internal": Share(value=0.5, how="derived")}
    wrong = msgspec.structs.replace(cell, kv=msgspec.structs.replace(cell.kv, waste=waste))
    assert broken(run.timeline(run.cells[0]), wrong, 1, {"a": 3}).startswith("shares sum to 1: ")


def test_a_diff_with_an_invalid_side_exits_with_4(tmp_path):
    good = recorded(tmp_path / "good", contiguous(SLOTS))
    bad = recorded(tmp_path / "bad", BREACHES["held <= pool: held 100, bound 50"]())
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "diff", good, bad],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "held <= pool: held 100, bound 50" in " ".join(done.stdout.split())
