"""`pagedbench trend`: steps where they were planted and nowhere else, and a page of them."""

import json
import re

import pytest

from benchmarks.synthetic import Shop
from compare.trend.collect import Collector
from measure import canonical
from measure.result import SCHEMA_VERSION


def months(count, change, **shop):
    """Results a day apart; `change(day)` gives what is different on a day."""
    for day in range(count):
        begun = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T02:00:00Z"
        git = {"commit": f"{day:040x}", "dirty": False}
        yield Shop(begun=begun, git=git, **{**shop, **change(day)}).result()


def trend(results):
    collector = Collector()
    for day, result in enumerate(results):
        collector.add(result, f"night-{day}")
    return collector.trend()


def steps(found):
    return {
        (series.cell, series.metric, step.run): step
        for group in found.groups
        for series in group.series
        for step in series.steps
    }


def test_a_step_is_found_where_it_is():
    found = steps(trend(months(60, lambda d: {"slower": {"vllm": 1.1}} if d >= 35 else {})))
    assert {key[:2] for key in found} == {
        ("vllm", "output_tokens_per_s"), ("vllm", "ttft_mean"), ("vllm", "tpot_mean")
    }  # fmt: skip
    step = found["vllm", "output_tokens_per_s", 35]
    assert step.ratio == pytest.approx(1 / 1.1, rel=0.02)
    assert step.verdict == "regressed"


def test_one_slot_more_is_a_step():
    found = steps(trend(months(20, lambda d: {"more_slots": {"vllm": d >= 10}})))
    step = found["vllm", "kv_peak_reserved", 10]
    assert (step.before, step.after, step.verdict) == (512, 513, "regressed")
    assert ("vllm", "kv_step_efficiency", 10) not in found  # 0.2 %: within its tolerance


def test_other_work_is_a_series_of_its_own():
    """Ten nights of four requests and ten of two, at half the speed: no step in either."""
    results = list(months(20, lambda d: {}))
    for cell in (cell for result in results[10:] for cell in result.cells if cell.label == "vllm"):
        cell.requests_run, cell.output_tokens = 2, 128
        cell.timing.output_tokens_per_s /= 2
    found = trend(results)
    (group,) = found.groups
    speeds = {s.cell: s.runs for s in group.series if s.metric == "output_tokens_per_s"}
    assert speeds["vllm"] == list(range(10))
    assert speeds["vllm (2 requests, 128 tokens)"] == list(range(10, 20))
    assert not any(key[0].startswith("vllm") for key in steps(found))


def test_another_meaning_of_stored_is_a_series_of_its_own(pagedbench, tmp_path):
    """Ten nights that counted tokens when they were scheduled, ten that count them when computed.

    470 of 512 slots, then 450: no step in either, and what does not depend on it goes on.
    """
    for day, result in enumerate(months(20, lambda d: {})):
        for cell in (cell for cell in result.cells if cell.label == "vllm"):
            cell.kv.counted = "scheduled" if day < 10 else "executing"
            cell.kv.step_efficiency = (470 if day < 10 else 450) / 512
        folder = tmp_path / f"2026-{day:03}"
        folder.mkdir()
        (folder / "result.json").write_bytes(canonical.dumps(result))
    (group,) = json.loads(pagedbench("trend", "--results", tmp_path, "--json").out)["groups"]
    runs = {(s["cell"], s["metric"]): s["runs"] for s in group["series"]}
    assert runs["vllm (tokens stored when scheduled)", "kv_step_efficiency"] == list(range(10))
    assert runs["vllm", "kv_step_efficiency"] == list(range(10, 20))
    assert runs["vllm", "kv_peak_reserved"] == list(range(20))
    assert runs["hf-static", "kv_step_efficiency"] == list(range(20))
    assert not any(series["steps"] for series in group["series"] if "kv_" in series["metric"])


def test_down_and_up_again_are_two_steps():
    slow = range(20, 40)
    found = steps(trend(months(60, lambda d: {"slower": {"vllm": 1.2}} if d in slow else {})))
    speed = {run: s.verdict for (_, m, run), s in found.items() if m == "output_tokens_per_s"}
    assert speed == {20: "regressed", 40: "improved"}


def test_noise_and_single_bad_nights_are_no_steps():
    bad = {"slower": {"vllm": 1.6}}
    noisy = months(112, lambda d: bad if d in (30, 70) else {}, noise=0.05)
    assert steps(trend(noisy)) == {}


def test_environment_changes_are_marked_and_named_at_the_step():
    def change(day):
        if day < 30:
            return {}
        return {"environment": {"driver": "590.1"}, "slower": {"vllm": 1.2}}

    found = trend(months(60, change))
    (group,) = found.groups
    assert [(c.run, c.what) for c in group.changes] == [(30, ["driver none -> 590.1"])]
    assert steps(found)["vllm", "output_tokens_per_s", 30].environment == ["driver none -> 590.1"]


def test_other_experiments_are_other_groups():
    results = list(months(10, lambda d: {}))
    for result in results[:4]:
        result.dtype = "float32"
    found = trend(results)
    assert [len(group.runs) for group in found.groups] == [6, 4]


@pytest.fixture
def year(tmp_path):
    results = tmp_path / "results"
    for day, result in enumerate(months(30, lambda d: {"more_slots": {"vllm": 16 * (d >= 20)}})):
        folder = results / f"2026-{day:03}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_bytes(canonical.dumps(result))
        if day % 2:
            (folder / "report.html").write_text("the report")
    (results / "latest").symlink_to("2026-029")
    return results


def test_json(pagedbench, year):
    done = pagedbench("trend", "--results", year, "--json", "--metric", "kv_peak_reserved")
    (group,) = json.loads(done.out)["groups"]
    assert len(group["runs"]) == 30  # latest is not another one
    series = next(s for s in group["series"] if s["cell"] == "vllm")
    assert [step["run"] for step in series["steps"]] == [20]
    assert not (year / "trend.html").exists()


def test_page_needs_nothing_else_and_links_the_reports(pagedbench, year):
    done = pagedbench("trend", "--results", year)
    assert (done.code, done.err) == (0, "")
    assert "30 runs in 1 experiments, 3 steps" in done.out
    page = (year / "trend.html").read_text()
    body = re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(https?:)?//", body)
    links = re.findall(r'href="([^"]+)"', body)
    assert links
    assert all((year / link).exists() for link in links)
    assert "528 slots" in body


def test_page_escapes_what_results_say(pagedbench, year):
    evil = "</script><script>alert(1)</script>"
    for path in year.glob("2026-*/result.json"):
        raw = json.loads(path.read_text())
        raw["environment"]["os"] = evil if path.parent.name > "2026-015" else "Linux"
        raw["model"]["name"] = evil
        for cell in raw["cells"]:
            cell["label"] = evil
        path.write_text(json.dumps(raw))
    assert pagedbench("trend", "--results", year).code == 0
    page = (year / "trend.html").read_text()
    assert evil not in page
    assert "&lt;/script&gt;" in page


def test_damaged_results_are_passed_over_and_named(pagedbench, year):
    (year / "2026-003" / "result.json").write_text("{")
    text = (year / "2026-004" / "result.json").read_text()
    (year / "2026-004" / "result.json").write_text(
        text.replace(f'"schema": {SCHEMA_VERSION}', '"schema": 99')
    )
    done = pagedbench("trend", "--results", year)
    assert done.code == 0
    assert "28 runs" in done.out
    assert "2 could not be read" in done.out
    assert "2026-003, 2026-004" in (year / "trend.html").read_text()


def test_wrong_folders(pagedbench, tmp_path):
    done = pagedbench("trend", "--results", tmp_path / "none")
    assert (done.code, done.err.count("\n")) == (2, 1)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert pagedbench("trend", "--results", empty).code == 0
    assert "No results yet" in (empty / "trend.html").read_text()
    done = pagedbench("trend", "--results", empty, "--out", tmp_path / "no" / "page.html")
    assert (done.code, done.err.count("\n")) == (2, 1)
