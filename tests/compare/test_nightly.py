"""`pagedbench nightly`: it learns, it accuses only with a second run, and it keeps house."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from benchmarks.synthetic import Shop
from compare import night
from compare.night import Before
from measure import canonical
from orchestrator import nights, retention


@pytest.fixture
def year(toy):
    """A toy repository with some ordinary nights."""

    def make(count, **shop):
        for number in range(count):
            begun = f"2026-01-{number + 1:02}T02:00:00Z"
            stamp = begun.replace("-", "").replace(":", "")
            folder = toy.path / "results" / f"{stamp}-0000000-seed"
            folder.mkdir(parents=True)
            result = Shop(seed=number, begun=begun, noise=0.005, **shop).result()
            (folder / "result.json").write_bytes(canonical.dumps(result))
            (folder / "samples.jsonl").write_text("trace")
            nights.save(folder, night.judge(result, []))
        return toy

    return make


def judged(toy):
    return json.loads((toy.nights()[-1] / "night.json").read_text())


def test_the_first_nights_learn(toy):
    done = toy.pagedbench("nightly")
    assert done.code == 0, done.err
    assert done.out.startswith("pagedbench nightly seed: learning | 0 nights of this experiment")
    assert done.out.count("\n") == 1
    assert judged(toy)["verdict"] == "learning"


def test_an_ordinary_night_is_fine(year):
    toy = year(6)
    done = toy.pagedbench("nightly")
    assert done.code == 0, done.err
    assert "seed: fine" in done.out
    assert not (toy.nights()[-1] / "confirm").exists()
    page = (toy.nights()[-1] / "night.md").read_text()
    assert "output throughput" in page
    assert "±" in page


def test_a_regression_is_confirmed_before_it_fails(year):
    toy = year(6)
    toy.engine(noise=0.005, slower={"vllm": 1.2})
    done = toy.pagedbench("nightly")
    assert done.code == 1, done.err
    assert "second run, to be sure of: vllm output throughput" in done.err
    assert "REGRESSED | vllm" in done.out
    folder = toy.nights()[-1]
    assert (folder / "confirm" / "result.json").is_file()
    finding = next(f for f in judged(toy)["findings"] if f["verdict"] == "regressed")
    assert finding["cell"] == "vllm"
    assert finding["again"] is not None


def test_a_regression_goes_on_failing_until_it_is_accepted(year):
    toy = year(6)
    toy.engine(noise=0.005, slower={"vllm": 1.2})
    assert [toy.pagedbench("nightly").code for _ in range(3)] == [1, 1, 1]
    done = toy.pagedbench("nightly", "--accept")
    assert (done.code, "accepted" in done.out) == (0, True)
    assert toy.pagedbench("nightly").code == 0
    assert "learning" in toy.pagedbench("nightly").out


def test_a_suspicion_that_is_not_confirmed_passes():
    before = [Before(result=Shop(seed=s, noise=0.005).result()) for s in range(8)]
    slow = Shop(seed=50, noise=0.005, slower={"vllm": 1.2}).result()
    tonight = night.judge(slow, before)
    assert tonight.found("regressed")
    night.confirm(tonight, Shop(seed=51, noise=0.005).result())
    assert tonight.verdict == "not confirmed"
    assert {f.verdict for f in tonight.findings} == {"normal", "not confirmed"}


def test_one_block_more_is_found_by_one_night():
    before = [Before(result=Shop(seed=s).result()) for s in range(6)]
    tonight = night.judge(Shop(seed=9, more_slots={"vllm": 16}).result(), before)
    found = {f.metric for f in tonight.found("regressed")}
    assert found == {"kv_peak_reserved", "kv_efficiency", "kv_step_efficiency"}


def test_the_tolerance_is_learned_from_the_nights():
    def learned(sway):
        shops = (Shop(seed=s, noise=0.001, drift=sway * (-1) ** s) for s in range(10))
        tonight = night.judge(Shop(seed=99).result(), [Before(result=s.result()) for s in shops])
        return next(f.tolerance for f in tonight.findings if f.metric == "output_tokens_per_s")

    assert learned(0.0) == pytest.approx(0.04)  # never narrower than the usual one
    assert learned(0.06) > 0.15


def test_only_nights_of_the_same_experiment_teach():
    before = [Before(result=Shop(seed=s).result()) for s in range(6)]
    for entry in before:
        entry.result.dtype = "float32"
    assert night.judge(Shop(seed=9).result(), before).verdict == "learning"


def test_a_backend_that_failed_needs_no_history():
    result = Shop(seed=1).result()
    result.cells[0].status = "crashed"
    assert night.judge(result, []).verdict == "regressed"


def shortened(result, label, requests):
    """The result with fewer requests done by one backend, at the speed of so small a load."""
    for cell in result.cells:
        if cell.label == label:
            cell.requests_run, cell.output_tokens = requests, 64 * requests
            cell.timing.output_tokens_per_s *= requests / 4
    return result


def test_less_work_than_before_is_incomparable_and_not_slower():
    """Eight nights of three requests, tonight two: a third less throughput is no regression."""
    before = [Before(result=shortened(Shop(seed=s).result(), "vllm", 3)) for s in range(8)]
    tonight = night.judge(shortened(Shop(seed=9).result(), "vllm", 2), before)
    assert tonight.found("regressed") == []
    assert [(f.cell, f.metric) for f in tonight.found("incomparable")] == [("vllm", "work")]
    assert tonight.verdict == "incomparable"
    assert "vllm: other work: requests_run 3 -> 2" in tonight.notes


def test_only_nights_that_did_the_same_work_teach():
    """Six nights of three requests among those of four: three is expected of three."""
    mixed = [shortened(Shop(seed=s).result(), "vllm", 3 + s % 2) for s in range(12)]
    before = [Before(result=result) for result in mixed]
    tonight = night.judge(shortened(Shop(seed=99).result(), "vllm", 3), before)
    assert tonight.verdict == "normal"
    assert {f.nights for f in tonight.findings if f.cell == "vllm"} == {6}


def test_another_meaning_of_stored_is_learned_anew(year):
    """Six nights counted tokens when they were scheduled, 6 % more than tonight, which does not."""
    toy = year(6)
    for path in toy.path.glob("results/*/result.json"):
        plain = json.loads(path.read_text())
        plain["schema"] = 2
        for cell in plain["cells"]:
            del cell["kv"]["counted"]
            cell["engine"] = {"settings": {"async_scheduling": cell["label"] == "vllm"}}
            if cell["label"] == "vllm":
                cell["kv"]["step_efficiency"] *= 1.06
        path.write_text(json.dumps(plain))
    assert "seed: fine" in toy.pagedbench("nightly").out
    verdicts = {(f["cell"], f["metric"]): f["verdict"] for f in judged(toy)["findings"]}
    learning = {key for key, verdict in verdicts.items() if verdict == "learning"}
    assert learning == {("vllm", "kv_efficiency"), ("vllm", "kv_step_efficiency")}
    assert verdicts["vllm", "kv_peak_reserved"] == "normal"
    assert verdicts["hf-static", "kv_step_efficiency"] == "normal"


def test_what_changed_since_the_night_before_is_named():
    before = [Before(result=Shop(seed=s).result()) for s in range(6)]
    changed = Shop(seed=9, environment={"driver": "590"}).result()
    assert night.judge(changed, before).environment == ["driver unknown -> 590"]


def test_the_result_is_saved_before_it_is_judged(year):
    toy = year(1)
    (toy.path / "results/20260101T020000Z-0000000-seed/night.json").write_text("{damaged")
    assert toy.pagedbench("nightly").code == 0  # a damaged night teaches nothing
    toy.engine(exit=7)
    done = toy.pagedbench("nightly")
    assert (done.code, done.out) == (2, "")
    assert "exit code 7" in done.err


def test_two_at_once_are_one(toy):
    toy.engine(sleep=5)
    first = subprocess.Popen(
        [".venv/bin/pagedbench", "nightly"], cwd=toy.path, env=toy.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    lock = toy.path.parent / "home/locks/pagedbench-host.lock"
    end = time.monotonic() + 20
    while not (lock.exists() and lock.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    second = toy.pagedbench("nightly")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 130
    first.communicate()
    assert (second.code, second.err.count("\n")) == (2, 1)
    assert "host is in use: pid" in second.err
    assert "pagedbench nightly seed" in second.err


def test_retention_keeps_numbers_references_and_what_is_marked(year, tmp_path):
    toy = year(8)
    results = toy.path / "results"
    folders = toy.nights()
    (folders[0] / retention.MARK).touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("data")
    (folders[1] / "linked").symlink_to(outside)
    reference = results / "reference" / "h100"
    shutil.copytree(folders[2], reference)
    by_hand = results / "20200101T000000Z-abc-seed"
    shutil.copytree(folders[2], by_hand)
    (by_hand / "night.json").unlink()
    shutil.copytree(folders[2], tmp_path / "a night elsewhere")
    (results / "20200102T000000Z-link").symlink_to(tmp_path / "a night elsewhere")
    (results / "latest").symlink_to(folders[3].name)
    thinned = retention.thin(results, 4)
    assert thinned == [folders[1], folders[2]]
    kept = [
        folders[0],
        folders[3],
        *folders[4:],
        reference,
        by_hand,
        tmp_path / "a night elsewhere",
    ]
    assert all((folder / "samples.jsonl").exists() for folder in kept)
    assert all((folder / "result.json").exists() for folder in folders)
    assert not (folders[1] / "samples.jsonl").exists()
    assert (outside / "precious").exists()
    assert retention.thin(results, 4) == []


def test_old_nights_are_thinned_by_nightly(year):
    toy = year(6)
    done = toy.pagedbench("nightly", "--keep", "2")
    assert done.err.count("traces removed, numbers kept") == 5
    assert len(list(toy.path.glob("results/2*/samples.jsonl"))) == 2
    assert len(list(toy.path.glob("results/2*/result.json"))) == 7


def test_false_alarms_are_rare():
    """Two hundred quiet nights, each of which could accuse 24 metrics."""
    before = [Before(result=Shop(seed=s, noise=0.02).result()) for s in range(20)]
    accused = 0
    for seed in range(100, 200):
        tonight = night.judge(Shop(seed=seed, noise=0.02).result(), before)
        if tonight.verdict == "regressed":
            night.confirm(tonight, Shop(seed=seed + 1000, noise=0.02).result())
        accused += tonight.verdict == "regressed"
    assert accused == 0
