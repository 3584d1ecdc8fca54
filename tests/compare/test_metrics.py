"""The table of metrics."""

import pytest

from benchmarks.synthetic import Shop
from compare import metrics, night
from compare.diff.results import diff
from traces import units
from traces.errors import Problem


def test_a_wrong_name_gets_the_nearest():
    with pytest.raises(Problem, match="did you mean kv_efficiency"):
        metrics.get("kv_eficiency")
    with pytest.raises(Problem, match="there are: output_tokens_per_s"):
        metrics.get("xyzzy")


def test_percentiles_need_their_requests():
    assert not metrics.get("ttft_p90").supported(63)
    assert metrics.get("ttft_p90").supported(64)
    assert not metrics.get("tpot_p99").supported(661)
    assert metrics.get("tpot_p99").supported(662)
    assert not metrics.get("ttft_p90").supported(None)


def test_every_metric_reads_a_cell_that_has_nothing():
    bare = Shop(repeats=1).result().cells[0]
    bare.timing = bare.kv = bare.ledger = None
    bare.phases = []
    assert {metric.read(bare) for metric in metrics.METRICS} == {None}


def test_repeats_that_failed_have_no_values():
    cells = Shop(repeats=3, labels=("vllm",)).result().cells[::-1]
    cells[0].status = "oom"
    speed = metrics.get("output_tokens_per_s")
    assert metrics.values(speed, cells) == [speed.read(cells[2]), speed.read(cells[1])]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (3 << 30, "B", "3.00 GiB"), (999, "B", "999 B"), (23_040, "B", "22.5 KiB"),
        (0.0042, "s", "4.2 ms"), (12.3456, "s", "12.35 s"), (0.99173, "share", "99.17 %"),
        (512, "slots", "512 slots"), (249.43, "tok/s", "249.4 tok/s"), (0, "times", "0 times"),
    ],
)  # fmt: skip
def test_values_read_well(value, unit, shown):
    assert units.show(value, unit) == shown


@pytest.mark.parametrize(
    ("apart", "blocks", "verdict"),
    [
        (False, 1, "regressed"), (False, 0, "unchanged"),
        (True, 4, "unchanged"),  # of 1,000 blocks: 0.4 %, what arriving one by one can do
        (True, 6, "regressed"), (True, -6, "improved"),
    ],
)  # fmt: skip
def test_the_peak_is_exact_unless_requests_reach_the_engine_one_by_one(apart, blocks, verdict):
    """One run a side, 1,000 blocks of 16 slots against some more."""

    def run(blocks):
        result = Shop(repeats=1, labels=("vllm",)).result()
        (cell,) = result.cells
        cell.engine = {"engine_process": apart}
        assert cell.kv
        cell.kv.peak_reserved = 16 * blocks
        return result

    (row,) = diff(run(1000), run(1000 + blocks), metrics=["kv_peak_reserved"]).cells[0].rows
    assert (row.change.verdict, row.weight) == (verdict, "gates")


def test_a_night_tolerates_of_the_peak_what_diff_does():
    def night_of(slots):
        result = Shop(labels=("vllm",)).result()
        for cell in result.cells:
            cell.engine = {"engine_process": True}
            assert cell.kv
            cell.kv.peak_reserved = slots
        return result

    before = [night.Before(result=night_of(16_000 + 16 * (n % 2))) for n in range(6)]
    for slots, verdict in ((16_032, "normal"), (16_320, "regressed")):
        found = night.judge(night_of(slots), before).findings
        assert [f.verdict for f in found if f.metric == "kv_peak_reserved"] == [verdict]
