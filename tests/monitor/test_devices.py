"""The devices to watch are those that the measured program sees."""

from dataclasses import dataclass, field

import pytest

from monitor.devices import choose
from tests.monitor.double import GIB, MIG, A, B, Sampling
from traces.errors import Problem
from traces.records import Load, Sample


@dataclass
class Gpu:
    uuid: str
    index: int
    instances: list["Gpu"] = field(default_factory=list)


MIGS = [Gpu("MIG-1111", 2), Gpu("MIG-2222", 2)]
GPUS = [Gpu("GPU-aa11", 0), Gpu("GPU-aa22", 1), Gpu("GPU-bb33", 2, MIGS)]


def visible(text):
    found, why = choose(GPUS, None, text)
    return [gpu.uuid for gpu in found], why


@pytest.mark.parametrize(
    ("text", "uuids"),
    [
        ("0", ["GPU-aa11"]),
        ("1,0", ["GPU-aa22", "GPU-aa11"]),
        (" 1 , 0 ", ["GPU-aa22", "GPU-aa11"]),
        ("GPU-aa22", ["GPU-aa22"]),
        ("GPU-aa1", ["GPU-aa11"]),
        ("GPU-aa11,1", ["GPU-aa11", "GPU-aa22"]),
        ("MIG-2222", ["MIG-2222"]),
        ("2", ["MIG-1111", "MIG-2222"]),
        ("GPU-bb33", ["MIG-1111", "MIG-2222"]),
        ("0,0", ["GPU-aa11"]),
    ],
)
def test_visible_devices_by_index_uuid_and_instance(text, uuids):
    assert visible(text) == (uuids, None)


@pytest.mark.parametrize(
    ("text", "uuids", "word"),
    [
        ("0,7,1", ["GPU-aa11"], "'7'"),
        ("0,-1,1", ["GPU-aa11"], "'-1'"),
        ("GPU-aa", [], "'GPU-aa'"),
        ("", [], "empty"),
        ("gpu0", [], "'gpu0'"),
    ],
)
def test_what_follows_an_invalid_entry_is_invisible_and_said(text, uuids, word):
    found, why = visible(text)
    assert found == uuids
    assert word in why


def test_all_devices_when_nothing_is_said_and_instances_stand_for_their_gpu():
    found, why = choose(GPUS, None, None)
    assert [gpu.uuid for gpu in found] == ["GPU-aa11", "GPU-aa22", "MIG-1111", "MIG-2222"]
    assert why is None


def test_the_users_own_list_wins_over_the_variable():
    found, _ = choose(GPUS, [1, "GPU-aa11"], "2")
    assert [gpu.uuid for gpu in found] == ["GPU-aa22", "GPU-aa11"]


def test_a_device_asked_for_by_name_must_exist():
    with pytest.raises(Problem, match=r"no GPU '9'.*0 \(GPU-aa11\)"):
        choose(GPUS, [9], None)


def test_an_old_mig_name_is_refused_with_the_remedy():
    with pytest.raises(Problem, match="nvidia-smi -L"):
        visible("MIG-GPU-bb33/1/0")


def test_visible_devices_are_watched_by_index_uuid_and_instance(driver, tmp_path):
    driver.write(
        f"gpu {A} H100 {80 * GIB} {GIB} 0",
        f"gpu {B} H100 {80 * GIB} 0 0",
        f"mig {MIG} H100-1g.10gb {10 * GIB} {2 * GIB} 0 {B}",
        f"error nvmlDeviceGetUtilizationRates {MIG} 1 99 3",
    )
    with Sampling(tmp_path, driver, cuda_visible_devices=f"0,{MIG[:12]}") as sampling:
        ready = sampling.wait("watching")
        sampling.until(lambda s: {load.uuid for load in s.of(Load)} == {A, MIG})
        sampling.stop()
    assert [device["uuid"] for device in ready["devices"]] == [A, MIG]
    instance = ready["devices"][1]
    assert (instance["meta"]["parent"], instance["index"], instance["memory_total"]) == (
        B,
        1,
        10 * GIB,
    )
    assert {s.uuid: s.used for s in sampling.of(Sample)} == {A: GIB, MIG: 2 * GIB}
    load = next(load for load in sampling.of(Load) if load.uuid == MIG)
    assert load.why == dict.fromkeys(("gpu_util", "mem_util"), "not supported by this device")
    assert load.power_w is not None


def test_the_environments_visible_devices_count_when_nothing_else_is_said(
    driver, tmp_path, monkeypatch
):
    driver.write(f"gpu {A} H100 {80 * GIB} {GIB} 0", f"gpu {B} H100 {80 * GIB} 0 0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with Sampling(tmp_path, driver) as sampling:
        assert [device["uuid"] for device in sampling.wait("watching")["devices"]] == [B]
        sampling.stop()


@pytest.mark.parametrize("asked", ["7", "GPU-none"])
def test_a_gpu_asked_for_that_is_not_there_is_one_clear_line(driver, tmp_path, asked):
    with (
        Sampling(tmp_path, driver, gpus=[asked]) as sampling,
        pytest.raises(
            AssertionError,
            match=rf"no GPU '{asked}' on this machine, or more than one; there is: 0 \({A}",
        ),
    ):
        sampling.wait("watching")
