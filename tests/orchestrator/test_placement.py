"""The precision that "auto" means: by the processor's flags, or the least able GPU."""

import pytest

from benchmarks.synthetic import Shop
from compare.diff import facts
from measure.result import Result
from orchestrator import placement, processor
from orchestrator.processor import Cpu
from traces.records import Device

PLAIN = "fpu sse avx2"


def read(tmp_path, monkeypatch, flags, key="flags"):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: Example CPU\n{key}\t\t: {flags}\n\n")
    monkeypatch.setattr(processor, "CPUINFO", path)
    return processor.cpu()


@pytest.mark.parametrize(
    ("flags", "key", "dtype"),
    [
        (PLAIN, "flags", "float32"),
        (f"{PLAIN} avx512f avx512_vnni", "flags", "float32"),
        (f"{PLAIN} avx512f avx512_bf16", "flags", "bfloat16"),
        (f"{PLAIN} amx_tile amx_bf16", "flags", "bfloat16"),
        ("fp asimd bf16 i8mm", "Features", "bfloat16"),
        ("fp asimd", "Features", "float32"),
    ],
)
def test_on_a_cpu(tmp_path, monkeypatch, flags, key, dtype):
    cpu = read(tmp_path, monkeypatch, flags, key)
    assert placement.dtype("cpu", [], cpu)[0] == dtype
    assert cpu.model == "Example CPU"
    assert "fpu" not in cpu.features


def test_a_processor_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "gone")
    assert processor.cpu().features == []
    assert placement.dtype("cpu", [], processor.cpu())[0] == "float32"


def gpu(*capability):
    meta = {"compute_capability": list(capability)} if capability else {}
    return Device(
        t=0, uuid="GPU-0", index=0, name="x", memory_total=1, driver="1", meta=meta
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "dtype"),
    [
        ([gpu(7, 5)], "float16"), ([gpu(8, 0)], "bfloat16"), ([gpu(9, 0)], "bfloat16"),
        ([gpu(10, 0)], "bfloat16"), ([gpu(9, 0), gpu(7, 0)], "float16"), ([gpu()], "bfloat16"),
    ],
)  # fmt: skip
def test_on_gpus(gpus, dtype):
    assert placement.dtype("cuda", gpus, Cpu("x", 1, []))[0] == dtype


def test_a_run_says_which_it_took_and_all_its_cells_have_it(bench, tmp_path):
    suite = bench.suite({}, {}, dtype="auto")
    done = bench.run("--suite", suite, "--out", bench.out)
    assert done.returncode == 0, done.stderr
    chosen = "bfloat16" if processor.cpu().has_bf16 else "float32"
    assert f"dtype auto: {chosen}, for the processor has" in done.stderr
    assert f", {chosen}, stubs: " in done.stdout
    assert bench.result()["dtype"] == bench.result()["suite"]["dtype"] == chosen
    assert bench.result()["environment"]["cpu"]["features"] == processor.cpu().features


def result(features=None) -> Result:
    made = Shop().result()
    if features is not None:
        made.environment["cpu"] = {**made.environment["cpu"], "features": features}
    return made


@pytest.mark.parametrize(
    ("base", "head", "expected"),
    [
        (["avx2"], ["avx2"], []), (None, None, []),
        (["avx2"], ["avx2", "avx512f"], [("avx2", "avx2 avx512f")]),
        (None, ["avx2"], [("unknown", "avx2")]),
    ],
)  # fmt: skip
def test_what_processors_have_is_compared(base, head, expected):
    found = facts.mismatches(result(base), result(head))
    named = [(m.base, m.head) for m in found if m.name == "cpu-features"]
    assert named == expected
