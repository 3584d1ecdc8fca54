"""A trace that is changed after its run: its cell is invalid, and going on measures it anew."""

import pytest

from tests.orchestrator.bench import A_FIRST


@pytest.mark.parametrize("name", ["cells/a.r0/worker.jsonl", "samples.jsonl"])
def test_a_changed_digit(bench, name):
    suite = bench.suite({"label": "a"}, {"label": "b"}, seed=A_FIRST)
    assert bench.run("--quiet", "--out", bench.out, "--suite", suite).returncode == 0
    path = bench.out / name
    raw = bytearray(path.read_bytes())
    place = raw.rindex(b'"t":') + 8  # in the middle of a time: still a number, still a trace
    raw[place] = ord("1") if raw[place] != ord("1") else ord("2")
    path.write_bytes(raw)

    done = bench.run(bench.out, verb="report")
    assert done.returncode == 4, done.stderr
    cells = bench.cells()
    assert (cells["a.r0"]["status"], cells["a.r0"]["reason"]) == (
        "invalid", f"{path.name}: not as written: measure anew: run --resume",
    )  # fmt: skip
    assert cells["b.r0"]["status"] == ("ok" if "cells" in name else "invalid")

    assert bench.resume().returncode == 0
    assert {cell["status"] for cell in bench.cells().values()} == {"ok"}
    assert (bench.out / "cells" / "a.r0.a2").is_dir()
    assert (bench.out / "cells" / "b.r0.a2").is_dir() == ("cells" not in name)
