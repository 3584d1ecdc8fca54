"""`pagedbench diff`, through the command line: what it says and how it exits."""

import json

import pytest
from msgspec.structs import replace

from benchmarks.synthetic import Shop, timed, with_cells
from measure import canonical
from measure.result import Check, Parity


def rows(done, verdict):
    found = json.loads(done.out)
    return {
        (cell["label"], row["metric"])
        for cell in found["cells"]
        for row in cell["rows"]
        if row["change"]["verdict"] == verdict and row["weight"] == "gates"
    }


def test_same_code_is_unchanged(pagedbench, stored, base):
    done = pagedbench("diff", base, stored("head", seed=2))
    assert (done.code, done.err) == (0, "")
    assert "no regression" in done.out
    assert "vllm           8 metrics unchanged" in done.out


def test_slow_down_is_found_and_named(pagedbench, stored, base):
    head = stored("head", seed=2, slower={"vllm": 1.15})
    done = pagedbench("diff", base, head)
    assert done.code == 1
    assert "regressed: output_tokens_per_s of vllm" in done.out
    line = next(line for line in done.out.splitlines() if "output throughput" in line)
    assert "REGRESSED" in line
    assert "-13" in line or "-12" in line
    slowed = rows(pagedbench("diff", base, head, "--format", "json"), "regressed")
    assert slowed == {("vllm", n) for n in ("output_tokens_per_s", "ttft_mean", "tpot_mean")}


def test_faster_is_improved(pagedbench, stored, base):
    done = pagedbench("diff", base, stored("head", seed=2, slower={"vllm": 0.8}))
    assert done.code == 0
    assert "improved: output_tokens_per_s of vllm" in done.out


@pytest.mark.parametrize("slots", [16, 1])
def test_one_block_is_found_at_one_repeat(pagedbench, stored, slots):
    base = stored("one", seed=1, repeats=1)
    head = stored("two", seed=2, repeats=1, more_slots={"vllm": slots})
    done = pagedbench("diff", base, head, "--format", "json")
    assert done.code == 1
    assert ("vllm", "kv_peak_reserved") in rows(done, "regressed")
    text = pagedbench("diff", base, head).out
    assert f"exact: +{slots} slots" in text


def test_few_repeats_give_no_verdict_on_speed(pagedbench, stored):
    base, head = stored("a", repeats=2), stored("b", seed=5, repeats=2, slower={"vllm": 2})
    done = pagedbench("diff", base, head)
    assert done.code == 0
    assert "2 repeats, judged from 3" in done.out
    assert pagedbench("diff", base, head, "--strict").code == 5


def test_some_repeats_advise(pagedbench, stored):
    base, head = stored("a", repeats=4), stored("b", seed=5, repeats=4, slower={"vllm": 1.5})
    done = pagedbench("diff", base, head)
    assert done.code == 0
    assert "nothing that gates, but look at: output_tokens_per_s of vllm" in done.out
    assert "4 repeats, gates from 5" in done.out
    assert pagedbench("diff", base, head, "--strict").code == 5


def test_noise_is_inconclusive_and_says_what_would_settle_it(pagedbench, stored):
    base, head = stored("a", noise=0.08), stored("b", seed=3, noise=0.08, slower={"vllm": 1.06})
    done = pagedbench("diff", base, head)
    assert done.code == 0
    assert "inconclusive" in done.out
    assert "metrics are undecided" in done.out.splitlines()[-1]
    assert "repeats" in done.out
    assert pagedbench("diff", base, head, "--strict").code == 5


def test_cells_are_matched_by_what_they_are(pagedbench, stored, base):
    head = Shop(seed=2, slower={"vllm": 1.15}).result()
    head.cells = head.cells[::-1]
    done = pagedbench("diff", base, stored("head", head), "--format", "json")
    assert {cell for cell, _ in rows(done, "regressed")} == {"vllm"}


def test_a_renamed_cell_is_the_same_cell(pagedbench, stored, base):
    head = Shop(seed=2).result()
    head.cells = [replace(c, label="paged") if c.label == "vllm" else c for c in head.cells]
    done = pagedbench("diff", base, stored("head", head))
    assert "was called vllm" in done.out
    assert "added" not in done.out


def test_other_options_are_another_cell(pagedbench, stored, base):
    head = Shop(seed=2).result()
    head.cells = [
        replace(c, options={"block_size": 32}) if c.label == "vllm" else c for c in head.cells
    ]
    done = pagedbench("diff", base, stored("head", head))
    assert "added in head: vllm" in done.out
    assert "not in head: vllm" in done.out
    assert done.code == 0
    assert pagedbench("diff", base, stored("head2", head), "--strict").code == 5


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: replace(r, dtype="float32"), "dtype"),
        (lambda r: replace(r, device="cuda"), "device"),
        (lambda r: replace(r, workload=replace(r.workload, sha256="ef" * 32)), "workload"),
        (lambda r: replace(r, model=replace(r.model, sha256="ef" * 32)), "model"),
        (lambda r: replace(r, suite={**r.suite, "max_length": 4096}), "settings"),
    ],
)
def test_another_experiment_is_refused(pagedbench, stored, base, change, named):
    head = stored("head", change(Shop(seed=2).result()))
    done = pagedbench("diff", base, head)
    assert done.code == 3
    assert f"incomparable: {named}" in done.out.splitlines()[-1]
    assert "output throughput" not in done.out
    forced = pagedbench("diff", base, head, "--force", "--explain")
    assert forced.code == 3
    assert "output throughput" in forced.out


def before_it_was_said(result):
    """The result as schema 2 wrote it: vllm scheduled ahead, and when tokens count was not said.

    It counted a token more in every twenty: 95 % of the slots held where today says 90.
    """
    plain = json.loads(canonical.dumps(result))
    plain["schema"] = 2
    for cell in plain["cells"]:
        del cell["kv"]["counted"]
        if cell["label"] == "vllm":
            cell["engine"] = {"settings": {"async_scheduling": True}}
            cell["kv"]["peak_live"] += 20
            for name in ("efficiency", "step_efficiency", "mean_live"):
                cell["kv"][name] *= 1.05
    return json.dumps(plain).encode()


def test_what_is_counted_otherwise_has_no_verdict(pagedbench, tmp_path, stored):
    old = tmp_path / "old.json"
    old.write_bytes(before_it_was_said(Shop(repeats=1).result()))
    head = stored("head", seed=2, repeats=1)
    done = pagedbench("diff", old, head, "--format", "json")
    assert done.code == 0
    (vllm,) = (cell for cell in json.loads(done.out)["cells"] if cell["label"] == "vllm")
    found = {row["metric"]: row for row in vllm["rows"]}
    otherwise = {name for name, row in found.items() if row["why"] == "counted otherwise"}
    assert otherwise == {
        "kv_efficiency", "kv_step_efficiency", "kv_bytes_per_live_token", "kv_peak_live",
    }  # fmt: skip
    assert {found[name]["change"]["verdict"] for name in otherwise} == {"none"}
    assert {found[name]["change"]["ratio"] for name in otherwise} == {None}
    assert found["kv_peak_reserved"]["change"]["verdict"] == "unchanged"
    (line,) = (
        line
        for line in pagedbench("diff", old, head).out.splitlines()
        if "KV efficiency per step" in line
    )
    assert "counted otherwise" in line
    assert pagedbench("diff", old, head, "--strict").code == 5
    assert "stored when scheduled on one side" in pagedbench("diff", old, head, "--explain").out


def test_restated_numbers_are_compared_with_todays(pagedbench, stored):
    """The same shares worked out of an old trace: a loss of slots is still found."""
    restated = Shop(repeats=1).result()
    for cell in restated.cells:
        assert cell.kv
        cell.kv.counted = "restated"
    head = stored("head", seed=2, repeats=1, more_slots={"vllm": 16})
    done = pagedbench("diff", stored("base", restated), head, "--format", "json")
    assert ("vllm", "kv_step_efficiency") in rows(done, "regressed")


def test_gpu_model_and_count_are_refused(pagedbench, stored):
    def on(*names):
        result = Shop(environment={"gpus": [{"name": name} for name in names]}).result()
        return replace(result, device="cuda")

    one = stored("one", on("H100"))
    assert pagedbench("diff", one, stored("other", on("H200"))).code == 3
    assert pagedbench("diff", one, stored("two", on("H100", "H100"))).code == 3
    assert pagedbench("diff", one, stored("same", on("H100"))).code == 0


def test_another_environment_compares_and_gates_only_when_named(pagedbench, stored, base):
    versions = {"python": "3.11.9", "torch": "2.14.0", "transformers": "5.19.0", "vllm": "0.32.0"}
    head = stored("head", seed=2, slower={"vllm": 1.15}, environment={"versions": versions})
    done = pagedbench("diff", base, head)
    assert done.code == 0
    assert "torch: 2.13.0 -> 2.14.0 (compared, does not gate)" in done.out
    assert "gates with --vary torch" in done.out
    assert pagedbench("diff", base, head, "--strict").code == 5
    assert pagedbench("diff", base, head, "--vary", "torch").code == 1
    wrong = pagedbench("diff", base, head, "--vary", "torhc")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    assert "did you mean torch?" in wrong.err


def test_changed_token_count_is_other_work(pagedbench, stored, base):
    head = with_cells(Shop(seed=2, slower={"vllm": 2}).result(), output_tokens=250)
    done = pagedbench("diff", base, stored("head", head))
    assert done.code == 3
    assert "other work: output_tokens 256 -> 250" in done.out
    assert "REGRESSED" not in done.out


@pytest.mark.parametrize("status", ["oom", "failed", "crashed", "timeout"])
def test_a_backend_that_stopped_working_regressed(pagedbench, stored, base, status):
    head = Shop(seed=2).result()
    head.cells[-1] = replace(head.cells[-1], status=status, timing=None, kv=None)
    done = pagedbench("diff", base, stored("head", head))
    assert done.code == 1
    assert "outcome of vllm" in done.out
    assert f"1 x {status}" in done.out
    assert pagedbench("diff", stored("b2", head), base).code == 0


def test_lost_parity_regressed(pagedbench, stored, base):
    failed = Parity(verdict="fail", method="regret", reference="hf", identical=0, compared=4)
    head = with_cells(Shop(seed=2).result(), parity=failed)
    fine = with_cells(Shop(seed=1).result(), parity=replace(failed, verdict="pass"))
    done = pagedbench("diff", stored("fine", fine), stored("head", head))
    assert done.code == 1
    assert "parity of" in done.out


def test_a_check_that_fails_on_one_side_makes_it_invalid(pagedbench, stored, base):
    check = Check(name="bytes per token", verdict="fail", ours=1.0, theirs=2.0)
    head = with_cells(Shop(seed=2, slower={"vllm": 1.5}).result(), validity=[check])
    done = pagedbench("diff", base, stored("head", head))
    assert done.code == 4
    assert "a check failed in head only: bytes per token" in done.out
    both = with_cells(Shop(seed=1).result(), validity=[check])
    assert pagedbench("diff", stored("both", both), stored("head2", head)).code == 1


def test_an_incomplete_run_is_invalid_unless_it_regressed(pagedbench, stored, base):
    head = replace(Shop(seed=2).result(), complete=False)
    assert pagedbench("diff", base, stored("head", head)).code == 4
    slow = replace(Shop(seed=2, slower={"vllm": 2}).result(), complete=False)
    assert pagedbench("diff", base, stored("slow", slow)).code == 1


def test_percentiles_of_few_requests_do_not_gate(pagedbench, stored, base):
    head = timed(Shop(seed=2).result(), ttft_p90=3.0)
    done = pagedbench("diff", base, stored("head", head), "--metric", "ttft_p90")
    assert done.code == 0
    assert "4 requests, needs 64" in done.out
    many = [with_cells(Shop(seed=s).result(), requests_run=64) for s in (1, 2)]
    many[1] = timed(many[1], ttft_p90=3.0)
    done = pagedbench("diff", stored("m1", many[0]), stored("m2", many[1]))
    assert done.code == 1
    assert "ttft_p90" in done.out


def test_tolerance_can_be_given(pagedbench, stored, base):
    head = stored("head", seed=2, slower={"vllm": 1.15})
    metric = ("--metric", "output_tokens_per_s")
    assert pagedbench("diff", base, head, *metric).code == 1
    assert (
        pagedbench("diff", base, head, *metric, "--tolerance", "output_tokens_per_s=30%").code == 0
    )
    for wrong in ("output_tokens_per_s", "output_tokens_per_s=x", "nope=3%", "ttft_mean=-1%"):
        done = pagedbench("diff", base, head, "--tolerance", wrong)
        assert (done.code, done.err.count("\n")) == (2, 1)


def test_a_named_metric_gates(pagedbench, stored, base):
    head = stored("head", seed=2, slower={"vllm": 1.15})
    assert pagedbench("diff", base, head, "--metric", "wall").code == 1
    assert pagedbench("diff", base, head, "--metric", "kv_efficiency").code == 0
    assert pagedbench("diff", base, head, "--metric", "wal").code == 2


def test_what_one_side_alone_measured_is_named(pagedbench, stored, base):
    done = pagedbench("diff", base, stored("head", with_cells(Shop(seed=2).result(), kv=None)))
    lost = "kv_efficiency, kv_step_efficiency, kv_peak_reserved"
    assert f"not measured in head: {lost}" in done.out


def test_one_percent_of_kv_efficiency_is_found_at_one_repeat(pagedbench, stored):
    def measured(seed, factor):
        result = Shop(seed=seed, repeats=1).result()
        for cell in result.cells:
            assert cell.kv
            cell.kv.step_efficiency = (cell.kv.step_efficiency or 0) * factor
        return result

    base = stored("a", measured(1, 1.0))
    done = pagedbench("diff", base, stored("b", measured(2, 0.99)))
    assert (done.code, "kv_step_efficiency of vllm" in done.out) == (1, True)
    assert pagedbench("diff", base, stored("c", measured(2, 0.996))).code == 0


def test_explain_says_how(pagedbench, stored, base):
    done = pagedbench("diff", base, stored("head", seed=2, slower={"vllm": 1.15}), "--explain")
    assert "lies beyond the tolerance 4.00%; 5 against 5 repeats" in done.out
    assert "(not used)" in done.out
    assert "a count, tolerance 0.00%" in done.out


def test_doubts_and_drift_are_noted(pagedbench, stored, base):
    head = Shop(seed=2, noise=0.001).result()
    head = with_cells(head, suspect=["GPU-1: clocks held back (hw_thermal)"])
    for cell in head.cells:
        assert cell.timing
        assert cell.timing.output_tokens_per_s
        cell.timing.output_tokens_per_s *= 0.97**cell.repeat
    done = pagedbench("diff", base, stored("head", head))
    assert "head suspect in 5 of 5: GPU-1: clocks held back (hw_thermal)" in done.out
    assert "head output throughput drifted by -11" in done.out


def test_plain_diff_of_two_repeats_shows_measured_values_only(stored):
    one = stored("one", seed=1, git={"commit": "a" * 40, "dirty": False})
    two = stored("two", seed=2, git={"commit": "a" * 40, "dirty": False}, begun="2026-01-02")
    sides = [(folder / "result.json").read_text().splitlines() for folder in (one, two)]
    assert len(sides[0]) == len(sides[1])
    changed = {a.strip().split('"')[1] for a, b in zip(*sides, strict=True) if a != b}
    measured = {
        "efficiency", "mean_reserved", "bytes_held_per_live_token", "wall", "seconds", "begun",
        "output_tokens_per_s", "total_tokens_per_s", "host_end", "host_peak",
    }  # fmt: skip
    assert changed - {name for name in changed if name.startswith(("ttft_", "tpot_"))} == measured
    assert sides[0][-4].strip().startswith('"volatile"')
