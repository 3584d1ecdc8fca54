"""The sampler as the orchestrator starts it, above the driver's double: what it says and writes."""

import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise

import msgspec
import pytest

from monitor import settings
from monitor.nvml import Library
from tests.monitor.double import GIB, A, B, Driver, Sampling
from traces.errors import Problem
from traces.records import Device, End, Energy, Gap, Header, Host, Load, Mark, Procs, Sample
from traces.sampling import Settings


def test_ready_names_the_devices_and_the_trace_begins_with_them(driver, tmp_path):
    driver.write(
        "driver 580.65.06",
        "cuda 13000",
        f"gpu {A} H100 {80 * GIB} {GIB} {GIB // 2}",
        f"gpu {B} H200 {141 * GIB} 0 0",
    )
    with Sampling(tmp_path, driver) as sampling:
        ready = sampling.wait("watching")
        sampling.stop()
    first, second = ready["devices"]
    assert (first["uuid"], first["index"], first["name"]) == (A, 0, "H100")
    assert (first["memory_total"], first["driver"], first["meta"]["cuda"]) == (
        80 * GIB,
        "580.65.06",
        "13.0",
    )
    assert first["meta"]["compute_capability"] == [9, 0]
    assert (second["uuid"], second["index"], second["meta"]["pci"]) == (B, 1, "00000000:02:00.0")
    assert ready["reason"] is None
    header, *devices = sampling.records()[:3]
    assert isinstance(header, Header)
    assert [device.uuid for device in devices if isinstance(device, Device)] == [A, B]


def test_memory_is_version_2_and_utilisation_power_and_clocks_have_their_units(driver, tmp_path):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 3 and s.of(Load))
        sampling.stop()
    sample, load = sampling.of(Sample)[0], sampling.of(Load)[0]
    assert (sample.used, sample.reserved) == (GIB, GIB // 2)
    assert sample.used + sample.reserved + sample.free == 80 * GIB
    assert (load.gpu_util, load.mem_util, load.power_w) == (87, 41, 345.678)
    assert (load.sm_clock, load.mem_clock, load.temperature) == (1980, 2619, 61)
    assert load.throttle == ["sw_power_cap", "sw_thermal_slowdown"]
    assert sample.why is load.why is None


def test_an_idle_device_has_zeros_and_they_are_values(driver, tmp_path):
    driver.write(f"gpu {A} H100 {80 * GIB} 0 0", f"idle {A}")
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Sample) and s.of(Load))
        sampling.stop()
    load = sampling.of(Load)[0]
    numbers = (load.gpu_util, load.mem_util, load.power_w, load.sm_clock, load.mem_clock)
    assert numbers == (0, 0, 0, 0, 0)
    assert (load.throttle, load.why) == ([], None)
    assert sampling.of(Sample)[0].used == 0


def test_a_driver_without_memory_version_2_says_that_used_holds_its_reservation(
    old_library, tmp_path
):
    with Sampling(tmp_path, Driver(old_library, tmp_path)) as sampling:
        assert sampling.wait("watching")["devices"][0]["meta"]["memory_version"] == 1
        sampling.until(lambda s: s.of(Sample) and s.of(Load))
        sampling.stop()
    sample = sampling.of(Sample)[0]
    assert (sample.used, sample.reserved) == (GIB + GIB // 2, None)
    assert "version 1" in sample.why["reserved"]
    assert sampling.of(Load)[0].throttle == ["sw_power_cap", "sw_thermal_slowdown"]


def test_every_kind_keeps_its_own_rate(driver, tmp_path):
    rates = {"interval_s": 0.005, "slow_interval_s": 0.1, "procs_interval_s": 0.5}
    with Sampling(tmp_path, driver, host_interval_s=0.25, **rates) as sampling:
        sampling.wait("watching")
        time.sleep(2)
        done = sampling.stop()
    samples = sampling.of(Sample)
    seconds = (samples[-1].t - samples[0].t) / 1e9
    assert done["ticks"] + done["missed"] == pytest.approx(seconds / 0.005, rel=0.05)
    assert len(samples) == pytest.approx(done["ticks"], abs=1)
    for kind, interval in ((Load, 0.1), (Procs, 0.5), (Host, 0.25)):
        assert len(sampling.of(kind)) == pytest.approx(seconds / interval, rel=0.3, abs=2)
    steps = [b.t - a.t for a, b in pairwise(samples)]
    assert statistics.median(steps) == pytest.approx(5e6, rel=0.2)


def test_done_and_the_end_record_agree_with_the_trace(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.002) as sampling:
        sampling.wait("watching")
        time.sleep(1)
        done = sampling.stop()
    end = sampling.records()[-1]
    assert isinstance(end, End)
    assert done == msgspec.to_builtins(end)
    assert end.missed == sum(gap.missed for gap in sampling.of(Gap))
    share = end.ticks / (end.ticks + end.missed)
    assert end.rate_hz == pytest.approx(share * 500, rel=0.2)
    assert end.jitter_p50
    assert end.jitter_p99
    assert end.jitter_p50 <= end.jitter_p99
    assert 0 < end.cpu_s < 1


def test_the_file_is_in_order_of_time(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.001, host_interval_s=0.01) as sampling:
        sampling.wait("watching")
        for n in range(10):
            sampling.mark("run", "begin" if n % 2 else "end", os.getpid())
        sampling.stop()
    times = [record.t for record in sampling.records()]
    assert times == sorted(times)


def test_a_stall_of_the_driver_is_a_gap_with_its_cause(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.01) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 5)
        gpu = f"gpu {A} H100 {80 * GIB} {GIB} {GIB // 2}"
        driver.write(gpu, "slow nvmlDeviceGetMemoryInfo_v2 200000")
        time.sleep(0.3)
        driver.write(gpu)
        sampling.until(lambda s: any(gap.missed >= 15 for gap in s.of(Gap)))
        sampling.stop()
    gap = max(sampling.of(Gap), key=lambda gap: gap.missed)
    assert gap.span >= 150_000_000
    assert gap.cause == "the readings took too long"


def test_slow_readings_do_not_hold_up_the_ticks(driver, tmp_path):
    driver.write(
        f"gpu {A} H100 {80 * GIB} {GIB} 0",
        "slow nvmlDeviceGetComputeRunningProcesses_v3 200000",
        "slow nvmlDeviceGetTotalEnergyConsumption 100000",
    )
    with Sampling(tmp_path, driver, interval_s=0.01, procs_interval_s=0.2) as sampling:
        sampling.wait("watching")
        sampling.mark("run", "begin", os.getpid())
        time.sleep(1.2)
        done = sampling.stop()
    assert done["missed"] < done["ticks"]  # half of the time or more is spent in slow calls


def test_an_edge_is_marked_and_reads_energy_processes_and_pss(driver, tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    driver.write(
        f"gpu {A} H100 {80 * GIB} {GIB} 0",
        f"energy {A} 5000 300000",
        f"proc {A} {child.pid} {GIB}",
    )
    slow = {"procs_interval_s": 100, "host_interval_s": 100, "pss_interval_s": 0}
    with Sampling(tmp_path, driver, **slow) as sampling:
        sampling.wait("watching")
        sampling.mark("run", "begin", child.pid)
        time.sleep(0.5)
        sampling.mark("run", "end", child.pid)
        sampling.stop()
    child.kill()
    child.wait()
    begin, end = sampling.of(Mark)
    assert (begin.cell, begin.phase, begin.edge, begin.watching) == ("c", "run", "begin", child.pid)
    assert end.edge == "end"
    before, after, _ = sampling.of(Energy)
    assert (before.where, after.where) == ("run.begin", "run.end")
    assert after.total_mj - before.total_mj == pytest.approx(150_000, rel=0.3)  # 300 W for 0.5 s
    assert [procs.ours for procs in sampling.of(Procs)[-3:]] == [GIB, GIB, GIB]
    hosts = [host for host in sampling.of(Host) if host.pss is not None]
    assert len(hosts) == 1
    assert 1 << 20 < hosts[0].pss <= hosts[0].rss * 1.1


def test_state_is_read_anew_for_each_question(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=100) as sampling:
        sampling.wait("watching")
        assert sampling.state() == [{"uuid": A, "used": GIB, "pids": [], "why": {}}]
        driver.write(f"gpu {A} H100 {80 * GIB} {3 * GIB} 0", f"proc {A} 4242 na", f"proc {A} 7 9")
        time.sleep(0.02)
        rows = [{"pid": 4242, "bytes": None}, {"pid": 7, "bytes": 9}]
        assert sampling.state() == [{"uuid": A, "used": 3 * GIB, "pids": rows, "why": {}}]
        sampling.stop()


def test_without_a_gpu_a_peak_of_the_tree_between_two_full_readings_is_seen(tmp_path, driver):
    """64 MiB for 40 ms; the full readings are 2 s apart."""
    code = (
        "import sys, time; sys.stdin.read(1); a = b'1' * (64 << 20); time.sleep(0.04); del a;"
        "time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    settings = {"gpus": [], "interval_s": 0.01, "host_interval_s": 2, "pss_interval_s": 0}
    with Sampling(tmp_path, driver, watching=child.pid, **settings) as sampling:
        sampling.until(lambda s: len(s.of(Host)) > 10)
        assert child.stdin
        child.stdin.write(b"1")
        child.stdin.close()
        time.sleep(0.6)
        sampling.stop()
    child.kill()
    child.wait()
    sizes = [host.rss for host in sampling.of(Host)]
    assert max(sizes) > 64 << 20
    assert sizes[-2] < 64 << 20
    assert sum(host.cpu_s is not None for host in sampling.of(Host)) <= 2


@pytest.mark.skipif(not Library().reason, reason="there is a driver here")
def test_no_gpu_gives_host_records_and_the_reason(tmp_path):
    driver = Driver(tmp_path, tmp_path)  # a folder without a library in it
    with Sampling(tmp_path, driver, host_interval_s=0.05, watching=os.getpid()) as sampling:
        ready = sampling.wait("watching")
        time.sleep(1)
        assert sampling.state() == []
        done = sampling.stop()
    assert ready["devices"] == []
    assert "no NVIDIA driver" in ready["reason"]
    hosts = sampling.of(Host)
    full = [host for host in hosts if host.cpu_s is not None]
    assert len(full) == pytest.approx(20, abs=5)
    assert len(hosts) == pytest.approx(100, abs=15)
    assert done["rate_hz"] == pytest.approx(100, rel=0.15)
    assert all(host.rss > 0 and host.processes >= 1 for host in hosts)
    assert all(host.cpu_s > 0 and host.host_used > 0 for host in full)
    assert 1 <= sum(host.pss is not None for host in hosts) <= 3
    assert 1 <= sum(host.steal_s is not None for host in hosts) <= 4
    assert not any(host.why for host in hosts)
    assert not sampling.of(Sample)


def test_a_driver_without_devices_is_no_gpu_too(driver, tmp_path):
    driver.write("driver 580")
    with Sampling(tmp_path, driver) as sampling:
        ready = sampling.wait("watching")
        sampling.stop()
    assert (ready["devices"], ready["reason"]) == ([], "the NVIDIA driver lists no GPU")


def test_no_watched_tree_is_null_with_the_reason_not_zero(driver, tmp_path):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Host) and s.of(Procs))
        sampling.stop()
    host = sampling.of(Host)[0]
    assert (host.rss, host.cpu_s) == (None, None)
    assert host.why["rss"] == "no process tree is watched"
    assert host.host_used > 0
    assert sampling.of(Procs)[0].why == {"ours": "no process tree is watched"}


def test_progress_says_where_memory_stands_and_how_high_it_was(driver, tmp_path):
    driver.write(f"gpu {A} H100 {80 * GIB} {GIB} 0", f"spike {A} {GIB} 40000 15000")
    config = {
        "interval_s": 0.002,
        "progress_interval_s": 0.2,
        "host_interval_s": 0.02,
        "watching": os.getpid(),
    }
    with Sampling(tmp_path, driver, **config) as sampling:
        sampling.wait("readings")
        progress = sampling.wait("readings")
        sampling.stop()
    (device,) = progress["devices"]
    assert device.pop("used") in (GIB, 2 * GIB)
    assert device.pop("silent_s") < 0.2
    assert device == {
        "uuid": A, "highest": 2 * GIB, "total": 80 * GIB, "gpu_util": 87, "power_w": 345.678,
        "why": None,
    }  # fmt: skip
    assert progress["host"]["rss"] > 1 << 20
    assert progress["host"]["host_total"] > progress["host"]["host_used"]


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        ({"interval_s": 0.0001}, "interval_s = 0.0001"),
        ({"slow_interval_s": 4000.0}, "slow_interval_s = 4000"),
        ({"host_interval_s": 0.0}, "host_interval_s = 0"),
    ],
)
def test_rates_out_of_range_are_one_line(rate, words):
    with pytest.raises(Problem, match=rf"^sampler: {words}: must lie between 1 ms and 1 h$"):
        settings.check(Settings(path="x", **rate))
