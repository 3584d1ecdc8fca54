"""Reading run folders: damage is survived, other boots are not merged, no path is followed."""

import json
from pathlib import Path

import pytest

from measure.build import Run, build
from measure.load import load_cell, load_cells, sample_files, samples
from measure.merge import merge
from measure.sampled import sampled
from tests.measure.folder import MIB, Folder, at, contiguous, host, meta, sample
from traces.reader import TraceError
from traces.records import Mark


def other_boot(path: Path) -> None:
    """Pretend a trace was written before a reboot."""
    head, rest = path.read_text().split("\n", 1)
    path.write_text(json.dumps({**json.loads(head), "boot_id": "another"}) + "\n" + rest)


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    made.cell("hf-static", contiguous())
    made.samples([host(50, 100)])
    return made


def test_a_torn_last_line_loses_only_itself(folder):
    path = folder.path / "cells" / "hf-static.r0" / "worker.jsonl"
    whole = len(list(load_cell(folder.path, path.parent).records()))
    path.write_bytes(path.read_bytes()[:-20])
    files = load_cell(folder.path, path.parent)
    assert len(list(files.records())) == whole - 1
    assert files.damage.torn


def test_damaged_lines_are_counted_and_passed_over(folder):
    path = folder.path / "cells" / "hf-static.r0" / "worker.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "garbage\n", '{"k":"nothing"}\n', *lines[1:]]))
    files = load_cell(folder.path, path.parent)
    assert merge(files.records()).requests
    assert files.damage.bad == 2


def test_the_engines_own_file_is_part_of_the_cell(folder):
    cell = folder.path / "cells" / "hf-static.r0"
    (cell / "engine.jsonl").write_bytes((cell / "worker.jsonl").read_bytes())
    assert len(load_cell(folder.path, cell).traces) == 2
    other_boot(cell / "engine.jsonl")
    with pytest.raises(TraceError, match="another boot"):
        load_cell(folder.path, cell)


def test_samples_of_the_same_boot_are_taken_after_a_reboot(folder):
    other_boot(folder.path / "samples.jsonl")
    folder.samples([host(60, 200)], "samples.2.jsonl")
    files = load_cells(folder.path)[0]
    assert sampled(samples(folder.path, files.boot_id)).host.series("pss").v.tolist() == [200 * MIB]


def test_sampler_restarts_are_read_in_order(folder):
    for number in (10, 2):
        folder.samples([host(number, 1)], f"samples.{number}.jsonl")
    names = [path.name for path in sample_files(folder.path)]
    assert names == ["samples.jsonl", "samples.2.jsonl", "samples.10.jsonl"]


def test_an_empty_trace_is_no_trace(folder):
    (folder.path / "cells" / "hf-static.r0" / "worker.jsonl").write_bytes(b"")
    cell = build(folder.path, meta()).cells[0]
    assert cell.kv is None
    assert (cell.status, cell.requests_run) == ("invalid", None)


def test_a_path_in_cell_json_is_never_opened(folder):
    cell = folder.path / "cells" / "hf-static.r0"
    about = json.loads((cell / "cell.json").read_text())
    (cell / "cell.json").write_text(json.dumps({**about, "folder": "../../../../etc"}))
    result = build(folder.path, meta())
    assert result.volatile["cells"]["hf-static.r0"]["folder"] == "hf-static.r0"


def test_each_cell_sees_its_own_samples():
    seen = sampled(
        [
            sample(100, 1),
            sample(350, 2),
            Mark(t=at(410), cell="b", phase="import", edge="begin", watching=1),
            sample(420, 99),
        ]
    )
    timeline = merge(contiguous(), seen)
    assert timeline.seen.used().v.tolist() == [1 * MIB, 2 * MIB]


def test_memory_is_of_the_device_that_the_cell_owns():
    seen = sampled([sample(100, 10), sample(101, 5, "GPU-2"), sample(320, 20)])
    used = merge(contiguous(), seen).seen.used()
    assert used.v.tolist() == [10 * MIB, 20 * MIB]


def test_a_run_folder_is_read_once(folder, monkeypatch):
    run = Run(folder.path)
    files = run.cells[0]
    assert run.timeline(files) is run.timeline(files)
    assert run.find("hf-static", 0) is files
    assert run.find("hf-static", 1) is None
