"""A run folder becomes a result whose numbers can be checked by hand."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from measure import canonical
from measure.build import build
from measure.result import Result
from tests.measure.folder import (
    GPU,
    MIB,
    Folder,
    at,
    contiguous,
    host,
    meta,
    paged,
    request,
    sample,
)
from traces.cell import DeviceState, Evidence
from traces.errors import Problem
from traces.reader import TraceError
from traces.records import Kv, Request


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.cell("hf-static", contiguous())
    made.cell("vllm", paged())
    made.workload([3])
    made.samples([host(99, 100), host(199, 300), host(289, 350), host(320, 400), host(399, 50)])
    return made


def cells(result: Any) -> dict[str, Any]:
    return {cell.label: cell for cell in result.cells}


def test_static_cache_by_hand(folder):
    cell = cells(build(folder.path, meta()))["hf-static"]
    assert cell.kv.efficiency == pytest.approx(330 / 4000)
    assert cell.kv.bytes_held_per_live_token == pytest.approx(1024 * 4000 / 330)
    assert cell.kv.mean_reserved == 100
    assert cell.kv.peak_live == 12
    # 12 of the 100 slots are filled in the end; 30 of 40 ms the request is there
    assert cell.kv.waste["internal"].value == pytest.approx((88 * 30 + 100 * 10) / 4000)
    assert cell.kv.waste["reservation"].value == pytest.approx((2 + 1 + 0) * 10 / 4000)
    assert cell.kv.waste["internal"].how == "derived"


def test_paged_cache_by_hand(folder):
    cell = cells(build(folder.path, meta()))["vllm"]
    assert cell.kv.efficiency == pytest.approx(18 / 24)
    assert cell.kv.pool_slots == 64
    assert cell.kv.waste["internal"].value == pytest.approx(4 / 24)
    assert cell.kv.waste["reservation"].value == pytest.approx(2 / 24)
    assert cell.kv.waste["external"].value == 0


def test_waste_and_efficiency_make_a_whole(folder):
    for cell in cells(build(folder.path, meta())).values():
        parts = [cell.kv.waste[name].value for name in ("reservation", "internal", "padding")]
        assert sum(parts) + cell.kv.efficiency == pytest.approx(1)


def test_timing_by_hand(folder):
    timing = cells(build(folder.path, meta()))["hf-static"].timing
    assert timing.wall == pytest.approx(0.040)
    assert timing.output_tokens_per_s == pytest.approx(3 / 0.030)  # to the last token
    assert timing.ttft_mean == pytest.approx(0.010)
    assert timing.tpot_mean == pytest.approx(0.020 / 2)


def test_host_ledger_by_hand(folder):
    ledger = cells(build(folder.path, meta()))["vllm"].ledger
    sizes = {line.name: line.bytes for line in ledger.lines}
    assert ledger.against == "pss"
    assert ledger.total == 400 * MIB
    assert sizes["runtime"] == 100 * MIB
    assert sizes["weights"] == 100 * MIB
    assert sizes["KV"] == 64 * 1024
    assert sum(size or 0 for size in sizes.values()) + ledger.residual == ledger.total


def test_phases_carry_memory(folder):
    phases = {phase.name: phase for phase in cells(build(folder.path, meta()))["vllm"].phases}
    assert list(phases) == ["import", "load", "warmup", "run", "teardown"]
    assert phases["load"].host_end == 300 * MIB
    assert phases["run"].host_peak == 400 * MIB
    assert phases["run"].device_peak is None
    assert phases["load"].seconds == pytest.approx(0.1)


def test_a_failed_cell_is_a_row_with_its_evidence(folder):
    made = folder.path / "cells" / "hf-paged.r0"
    made.mkdir()
    folder.about(made, "hf-paged", status="oom", reason="CUDA out of memory", log_tail=["boom"])
    result = build(folder.path, meta())
    cell = cells(result)["hf-paged"]
    assert (cell.status, cell.reason) == ("oom", "CUDA out of memory")
    assert cell.kv is None
    assert result.volatile["cells"]["hf-paged.r0"]["log_tail"] == ["boom"]


def test_a_worker_killed_in_mid_run_keeps_what_it_had(folder):
    killed = [r for r in contiguous() if r.t <= at(321) and type(r).__name__ != "Request"]
    folder.cell("killed", killed, status="crashed")
    cell = cells(build(folder.path, meta()))["killed"]
    assert cell.timing is None
    assert cell.kv.steps == 3
    assert cell.phases[-1].name == "run"


def test_rebuilt_from_the_folder_alone(folder):
    first = build(folder.path, meta())
    (folder.path / "result.json").write_bytes(canonical.dumps(first))
    assert canonical.dumps(build(folder.path)) == canonical.dumps(first)


def test_the_last_attempt_counts(folder):
    again = folder.path / "cells" / "vllm.r0.a2"
    again.mkdir()
    folder.about(again, "vllm", status="timeout")
    assert cells(build(folder.path, meta()))["vllm"].status == "timeout"


def test_cells_stand_in_the_suites_order_not_in_the_order_run(folder):
    assert [cell.label for cell in build(folder.path, meta()).cells] == ["hf-static", "vllm"]
    turned = meta(suite={"backend": [{"name": "vllm"}, {"name": "x", "label": "hf-static"}]})
    assert [cell.label for cell in build(folder.path, turned).cells] == ["vllm", "hf-static"]


def test_another_boot_is_refused(folder):
    path = folder.path / "cells" / "vllm.r0" / "worker.jsonl"
    head, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(head), "boot_id": "another"}) + "\n" + rest)
    with pytest.raises(TraceError, match="another boot"):
        build(folder.path, meta())


def test_a_cell_json_that_is_none_is_one_line(folder):
    (folder.path / "cells" / "vllm.r0" / "cell.json").write_text("[" * 100_000)
    with pytest.raises(Problem, match=r"cell\.json") as caught:
        build(folder.path, meta())
    assert "\n" not in str(caught.value)


def test_the_memory_of_phases_is_above_what_was_there_before(tmp_path):
    """1,000 MiB are somebody else's; the load ends with 1,300, the run has 1,500 at most."""
    made = Folder(tmp_path)
    evidence = {"devices": [{"uuid": GPU, "used": 1000 * MIB, "pids": []}], "waited_s": 0.0}
    made.cell("vllm", paged(), certificate={"before": evidence, "after": evidence})
    made.samples([sample(0, 1100), sample(199, 1300), sample(320, 1500), sample(345, 1400)])
    (cell,) = build(made.path, meta(device="cuda")).cells
    found = {phase.name: phase for phase in cell.phases}
    assert found["load"].device_end == 300 * MIB
    assert cell.ledger is not None
    assert found["run"].device_peak == cell.ledger.total == 500 * MIB
    assert (cell.ledger.baseline, cell.device_after) == (1000 * MIB, 0)


def test_the_memory_before_a_cell_is_that_of_its_own_device():
    """The second card holds 70 bytes of somebody else's."""
    devices = [DeviceState(uuid=uuid, used=used, pids=[]) for uuid, used in (("A", 5), ("B", 70))]
    assert Evidence(devices=devices, waited_s=0).used == 5
    assert Evidence(devices=[], waited_s=0).used is None


def given_up(name: str, tokens: int) -> Request:
    """A request that the deadline ended after so many tokens, 10 ms apart from 310 ms on."""
    made = request(name, 10, tokens, 300, 310, 300 + 10 * tokens, 300)
    if not tokens:
        made = msgspec.structs.replace(made, t=at(335), start=None, first=None, last=None)
    return msgspec.structs.replace(made, ended="deadline")


def deadline_run(folder: Folder, *requests: Request) -> Result:
    """Three requests of 3 tokens were offered to a static cache, for 32 ms."""
    folder.workload([3, 3, 3])
    others = [r for r in contiguous() if not isinstance(r, Request)]
    place = next(i for i, r in enumerate(others) if isinstance(r, Kv) and not r.running)
    records = [*others[:place], *requests, *others[place:]]
    folder.cell("hf-static", records, requests_asked=3)
    return build(folder.path, meta(suite={"name": "test", "budget": "32ms"}))


def test_a_deadline_is_no_truncation_and_what_came_by_then_counts(tmp_path):
    """One had its 3 tokens, one 2 of them, one none: 5 tokens in the 32 ms."""
    whole = request("0", 10, 3, 300, 310, 330, 300)
    result = deadline_run(Folder(tmp_path), whole, given_up("1", 2), given_up("2", 0))
    (cell,) = result.cells
    assert (cell.status, cell.reason, cell.ended, cell.truncated) == ("ok", "", "deadline", "")
    assert (cell.requests_run, cell.requests_asked, cell.output_tokens) == (1, 3, 5)
    assert cell.work
    assert (cell.work.requests, cell.work.load, cell.work.deadline_s) == (1, "closed", 0.032)
    assert cell.timing
    assert cell.timing.output_tokens_per_s == pytest.approx(5 / 0.032)
    assert [row.ended for row in cell.rows] == [UNSET, "deadline", "deadline"]
    assert result.complete
    (check,) = (c for c in cell.validity if c.name.startswith("output tokens"))
    assert (check.verdict, check.note) == ("n/a", "a deadline ended the run")


def test_a_run_without_a_token_is_not_complete(tmp_path):
    result = deadline_run(Folder(tmp_path), *(given_up(name, 0) for name in "012"))
    (cell,) = result.cells
    assert (result.complete, cell.output_tokens, cell.requests_run) == (False, 0, 0)
    assert cell.timing
    assert cell.timing.output_tokens_per_s is None


def test_more_tokens_than_asked_are_no_deadlines_doing(tmp_path):
    result = deadline_run(Folder(tmp_path), *(given_up(name, 3 + (name == "2")) for name in "012"))
    assert result.cells[0].status == "invalid"
    assert "request 2: 4 tokens, 3 were asked for" in result.cells[0].reason
