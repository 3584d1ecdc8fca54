"""What goes wrong is said in the trace, costs no good record, and does not end the watch."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from monitor.lane import Lane
from tests.monitor import double
from tests.monitor.double import GIB, A, B, Sampling
from traces.messages import Stop
from traces.reader import Damage, read
from traces.records import End, Energy, Gap, Load, Procs, Sample

GPU_A = f"gpu {A} H100 {80 * GIB} {GIB} 0"
GPU_B = f"gpu {B} H100 {80 * GIB} {2 * GIB} 0"
EVERY_CALL = "1 1000000"


def of_device(sampling, uuid):
    return [sample for sample in sampling.of(Sample) if sample.uuid == uuid]


def test_a_lost_gpu_is_null_with_the_reason_and_the_other_goes_on(driver, tmp_path):
    driver.write(GPU_A, GPU_B)
    with Sampling(tmp_path, driver, interval_s=0.01, progress_interval_s=0.1) as sampling:
        sampling.until(lambda s: len(of_device(s, A)) > 5)
        driver.write(GPU_A, GPU_B, f"error nvmlDeviceGetMemoryInfo_v2 {A} {EVERY_CALL} 15")
        sampling.until(lambda s: any(sample.used is None for sample in of_device(s, A)))
        before = len(of_device(sampling, B))
        time.sleep(0.5)
        shown = [sampling.wait("readings")["devices"] for _ in range(5)]
        sampling.stop()
    assert shown[0][0]["used"] == GIB
    assert shown[-1][0]["used"] is None, "what it had is not what it has"
    assert shown[-1][0]["why"] == "the GPU is lost"
    lost = [sample for sample in of_device(sampling, A) if sample.used is None]
    assert lost[0].why == dict.fromkeys(("used", "free", "reserved"), "the GPU is lost")
    assert len(lost) <= 3, "a lost GPU is one row a second, not one a tick"
    others = of_device(sampling, B)
    assert len(others) > before + 30
    assert all(sample.used == 2 * GIB for sample in others)


def test_after_a_driver_reset_the_device_is_found_again_by_its_uuid(driver, tmp_path):
    driver.write(GPU_A, GPU_B, f"error nvmlDeviceGetPowerUsage {A} {EVERY_CALL} 3")
    with Sampling(tmp_path, driver, interval_s=0.01, slow_interval_s=0.01) as sampling:
        sampling.until(lambda s: len(of_device(s, A)) > 5)
        driver.write(f"gpu {B} H100 {80 * GIB} {5 * GIB} 0", f"gpu {A} H100 {80 * GIB} {4 * GIB} 0",
                     "reset 1")  # fmt: skip
        sampling.until(lambda s: of_device(s, A)[-1].used == 4 * GIB)
        sampling.until(lambda s: of_device(s, B)[-1].used == 5 * GIB)
        time.sleep(0.3)
        sampling.stop()
    gaps = [gap for gap in sampling.of(Gap) if gap.cause.startswith(A)]
    assert len(gaps) == 1
    assert "the GPU is lost" in gaps[0].cause
    assert 0.5e9 < gaps[0].span < 5e9
    assert of_device(sampling, A)[-1].why is None
    load = [load for load in sampling.of(Load) if load.uuid == A]
    assert load[0].power_w is None
    assert load[-1].power_w == 345.678, "another driver may offer what the last one did not"


BLOCKING = """
import os, time
write, block = os.write, sys.argv.pop(1)
def waits(fd, data):
    while os.path.exists(block):
        time.sleep(0.01)
    return write(fd, data)
os.write = waits
"""


def test_while_one_gpu_is_lost_and_the_disk_blocks_the_others_are_read(
    driver, tmp_path, monkeypatch
):
    """For 2.5 s, in which the lost one is asked again twice."""
    block = tmp_path / "block"
    monkeypatch.setattr(double, "CHILD", double.CHILD.replace("\nfd, ", f"{BLOCKING}\nfd, "))
    plain = subprocess.Popen

    def told(command, **options):
        return plain([*command[:3], str(block), *command[3:]], **options)

    monkeypatch.setattr(subprocess, "Popen", told)
    driver.write(GPU_A, GPU_B)
    with Sampling(tmp_path, driver, interval_s=0.01) as sampling:
        sampling.until(lambda s: len(of_device(s, A)) > 5)
        driver.write(GPU_A, GPU_B, f"error nvmlDeviceGetMemoryInfo_v2 {A} {EVERY_CALL} 15")
        sampling.until(lambda s: of_device(s, A)[-1].used is None)
        block.touch()
        time.sleep(2.5)
        block.unlink()
        sampling.stop()
    times = [sample.t for sample in of_device(sampling, B)]
    assert max(b - a for a, b in pairwise(times)) < 500_000_000
    assert sum(sample.used is None for sample in of_device(sampling, A)) >= 3
    everything = [record.t for record in sampling.records()]
    assert everything == sorted(everything)


@pytest.mark.parametrize("code", [1, 9, 15, 16, 999])
def test_a_dead_driver_at_the_last_does_not_keep_the_sampler_from_ending(driver, tmp_path, code):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 3)
        names = ("MemoryInfo_v2", "TotalEnergyConsumption", "ComputeRunningProcesses_v3")
        driver.write(GPU_A, *(f"error nvmlDeviceGet{name} * {EVERY_CALL} {code}" for name in names))
        sampling.until(lambda s: s.of(Sample)[-1].used is None)
        sampling.stop()
    assert isinstance(sampling.records()[-1], End)
    assert sampling.of(Energy)[-1].total_mj is None


def test_an_error_at_the_nth_call_costs_one_sample(driver, tmp_path):
    driver.write(GPU_A, f"error nvmlDeviceGetMemoryInfo_v2 {A} 10 10 10")
    with Sampling(tmp_path, driver, interval_s=0.01) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 30)
        sampling.stop()
    samples = sampling.of(Sample)
    missing = [n for n, sample in enumerate(samples) if sample.used is None]
    assert [samples[n].why["used"] for n in missing] == ["the driver timed out"]
    assert samples[missing[0] + 1].t - samples[missing[0]].t < 20_000_000, "it is asked again soon"


def test_while_the_driver_hangs_progress_says_since_when(driver, tmp_path):
    """No thread that asks the driver may be needed for that."""
    driver.write(GPU_A)
    asked = {"interval_s": 0.01, "procs_interval_s": 0.1, "progress_interval_s": 0.1}
    with Sampling(tmp_path, driver, **asked) as sampling:
        sampling.until(lambda s: s.of(Sample))
        driver.write(
            GPU_A, "slow nvmlDeviceGetMemoryInfo_v2 60000000",
            "slow nvmlDeviceGetComputeRunningProcesses_v3 60000000",
        )  # fmt: skip
        begun = time.monotonic()
        while sampling.wait("readings")["devices"][0]["silent_s"] < 1:
            assert time.monotonic() < begun + 5


def test_a_driver_that_hangs_until_the_stop_leaves_a_gap(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.01) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 5)
        driver.write(GPU_A, "slow nvmlDeviceGetMemoryInfo_v2 60000000")
        time.sleep(0.5)
        sampling.order(Stop())
        done = sampling.wait("sampled")["account"]
    assert isinstance(sampling.records()[-2], Gap)
    gap, end = sampling.of(Gap)[-1], sampling.of(End)[0]
    assert (gap.cause, gap.missed) == ("the readings took too long", end.missed)
    assert gap.span > 400_000_000
    assert done["missed"] == end.missed >= 40
    assert done["rate_hz"] < 90


def test_what_is_not_supported_is_asked_once_and_stays_null_with_its_reason(driver, tmp_path):
    driver.write(GPU_A, f"error nvmlDeviceGetPowerUsage * {EVERY_CALL} 3",
                 f"error nvmlDeviceGetClockInfo * {EVERY_CALL} 4")  # fmt: skip
    with Sampling(tmp_path, driver, slow_interval_s=0.02) as sampling:
        sampling.until(lambda s: len(s.of(Load)) > 10)
        sampling.stop()
    loads = sampling.of(Load)
    assert {load.power_w for load in loads} == {None}
    assert {load.why["power_w"] for load in loads} == {"not supported by this device"}
    assert {load.why["sm_clock"] for load in loads} == {"no permission"}
    assert all(load.temperature == 61 for load in loads)
    assert driver.calls("nvmlDeviceGetPowerUsage") == 1


def test_memory_that_is_not_supported_leaves_the_other_readings(driver, tmp_path):
    driver.write(GPU_A, f"error nvmlDeviceGetMemoryInfo_v2 * {EVERY_CALL} 3")
    with Sampling(tmp_path, driver, slow_interval_s=0.02) as sampling:
        assert sampling.wait("watching")["devices"][0]["memory_total"] is None
        assert sampling.state()[0]["why"] == {"used": "not supported by this device"}
        sampling.until(lambda s: len(s.of(Load)) > 10)
        sampling.stop()
    assert [sample.used for sample in sampling.of(Sample)][:1] == [None]
    assert sampling.of(Load)[0].gpu_util == 87


def test_a_device_that_does_not_answer_at_the_start_is_named_and_the_others_watched(
    driver, tmp_path
):
    driver.write(GPU_A, GPU_B, "error nvmlDeviceGetHandleByIndex_v2 * 1 1 15")
    with Sampling(tmp_path, driver) as sampling:
        ready = sampling.wait("watching")
        sampling.stop()
    assert [device["uuid"] for device in ready["devices"]] == [B]
    assert ready["reason"] == "GPU 0: the GPU is lost"


def test_a_driver_that_is_not_loaded_is_no_gpu_with_the_reason(driver, tmp_path):
    driver.write("init 9")
    with Sampling(tmp_path, driver) as sampling:
        ready = sampling.wait("watching")
        sampling.stop()
    assert (ready["devices"], ready["reason"]) == ([], "the NVIDIA driver is not loaded")


def test_a_process_list_without_permission_is_null_with_the_reason(driver, tmp_path):
    driver.write(GPU_A, f"error nvmlDeviceGetComputeRunningProcesses_v3 * {EVERY_CALL} 4")
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Procs))
        assert sampling.state()[0]["pids"] is None
        sampling.stop()
    procs = sampling.of(Procs)[0]
    assert (procs.pids, procs.foreign) == (None, [])
    assert procs.why["pids"] == "no permission"


def test_kill_9_loses_at_most_a_tenth_of_a_second(driver, tmp_path):
    with Sampling(tmp_path, driver, interval_s=0.001) as sampling:
        sampling.until(lambda s: len(s.of(Sample)) > 300)
        time.sleep(0.05)
        os.kill(sampling.process.pid, signal.SIGKILL)
        died = time.monotonic_ns()
        sampling.process.wait()
        damage = Damage()
        *_, last = read(sampling.path, damage)
    assert died - last.t < 200_000_000  # 100 ms, and the ticks that a busy machine gave us late
    assert damage.bad == 0


def test_a_slow_sampler_flushes_as_often(driver, tmp_path):
    slow = {"interval_s": 10, "host_interval_s": 10, "procs_interval_s": 10, "slow_interval_s": 10}
    with Sampling(tmp_path, driver, **slow) as sampling:
        sampling.wait("watching")
        sampling.until(lambda s: s.of(Sample) and s.of(Load), patience=1)


def test_sigterm_ends_it_in_order(driver, tmp_path):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Sample))
        sampling.process.terminate()
        assert sampling.process.wait(5) == 0
    assert isinstance(sampling.records()[-1], End)


def test_it_does_not_outlive_the_orchestrator(driver, tmp_path):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Sample))
        sampling.ours.close()
        sampling.process.wait(5)  # by itself, or by what then ends the whole run
    assert isinstance(sampling.records()[-1], End)


def test_it_does_not_outlive_the_orchestrator_when_the_driver_hangs(driver, tmp_path):
    with Sampling(tmp_path, driver) as sampling:
        sampling.until(lambda s: s.of(Sample))
        driver.write(GPU_A, "slow nvmlDeviceGetMemoryInfo_v2 60000000")
        time.sleep(0.1)
        sampling.ours.close()
        assert sampling.process.wait(5) == -signal.SIGKILL
    assert sampling.of(Sample), "what was flushed is readable"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
exec(sys.argv.pop(1))
"""


def test_a_full_disk_is_one_clear_line_and_the_trace_stays_readable(driver, tmp_path, monkeypatch):
    plain = subprocess.Popen

    def limited(command, **options):
        return plain([command[0], "-c", LIMITED, *command[2:]], **options)

    monkeypatch.setattr(subprocess, "Popen", limited)
    with Sampling(tmp_path, driver, interval_s=0.002) as sampling:
        with pytest.raises(AssertionError, match="cannot write the trace") as told:
            sampling.wait("sampled")
        assert sampling.process.wait(5) == 1
        with pytest.raises(EOFError):  # it says so once
            sampling.ours.recv()
    message = str(told.value).splitlines()[0]
    assert "'status': 'failed'" in message
    assert str(sampling.path) in message
    assert "File too large" in message
    damage = Damage()
    assert sum(1 for _ in read(sampling.path, damage)) > 50
    assert damage.bad == 0


def test_a_trace_that_exists_is_never_overwritten(driver, tmp_path):
    (tmp_path / "samples.jsonl").write_text("precious")
    with Sampling(tmp_path, driver) as sampling, pytest.raises(AssertionError, match="File exists"):
        sampling.wait("watching")
    assert (tmp_path / "samples.jsonl").read_text() == "precious"


def test_an_error_in_the_slow_lane_is_raised_in_the_main_thread():
    def fail():
        raise ZeroDivisionError

    lane = Lane([])
    lane.start()
    lane.check()
    lane.post(fail)
    assert lane.stop(5)
    with pytest.raises(ZeroDivisionError):
        lane.check()


def test_python_processes_of_the_test_are_gone():
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert f"{sys.executable} -c \nimport json, sys" not in listing.stdout
