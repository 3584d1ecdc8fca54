"""The table of metrics."""

import pytest

from benchmarks.synthetic import Shop
from compare import metrics
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
