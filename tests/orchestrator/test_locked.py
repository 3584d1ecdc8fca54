"""Two runs at once are one, unless the one runs for the other."""

import signal

from orchestrator import lock
from tests.orchestrator.bench import finish

# What nightly and gate do: hold the machine, and start a run.
FOR_ANOTHER = """
import subprocess, sys
from orchestrator import lock
with lock.held("the parent"):
    sys.exit(subprocess.run([sys.executable, "-m", "orchestrator", *sys.argv[1:]]).returncode)
"""


def test_a_second_run_is_refused_before_it_writes_anything(bench):
    suite = bench.suite(bench.holding())
    first = bench.start("--quiet", "--suite", suite, "--out", bench.out)
    pid = bench.in_mid_run("stub0.r0")
    second = bench.run("--quiet", "--suite", suite, "--out", bench.home / "second")
    assert (second.returncode, second.stdout, second.stderr.count("\n")) == (2, "", 1)
    assert f"host is in use: pid {first.pid} of" in second.stderr
    assert "pagedbench run stubs" in second.stderr
    assert not (bench.home / "second").exists()
    assert pid != first.pid
    bench.release()
    assert finish(first).returncode == 0


def test_a_run_waits_as_long_as_it_is_told(bench):
    suite = bench.suite(bench.holding())
    first = bench.start("--quiet", "--suite", suite, "--out", bench.out)
    bench.in_mid_run("stub0.r0")
    arguments = ("--quiet", "--suite", suite, "--out", bench.home / "second")
    second = bench.start(*arguments, "--wait", "1m")
    assert bench.run(*arguments, "--wait", "1s").returncode == 2
    bench.release()
    assert finish(first).returncode == 0
    assert finish(second).returncode == 0
    assert (bench.home / "second" / "result.json").is_file()


def test_ctrl_c_ends_the_waiting(bench):
    first = bench.start("--quiet", "--suite", bench.suite(bench.holding()), "--out", bench.out)
    bench.in_mid_run("stub0.r0")
    second = bench.start(
        "--suite", bench.home / "suite.toml", "--out", bench.home / "second", "--wait", "1h"
    )
    assert second.stderr
    said = second.stderr.readline()
    assert said.startswith(f"pagedbench: host is in use: pid {first.pid} of")
    assert said.endswith("; waiting\n")
    second.send_signal(signal.SIGTERM)
    done = finish(second)
    assert (done.returncode, done.stderr.strip()) == (130, "pagedbench: interrupted")
    bench.release()
    assert finish(first).returncode == 0


def test_a_run_for_a_holder_needs_no_lock(bench):
    done = bench.run(
        "--quiet", "--suite", bench.suite(), "--out", bench.out, python=("-c", FOR_ANOTHER)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert lock.HELD_BY not in str(bench.result()["environment"])


def test_a_number_left_in_the_environment_is_no_holder(bench):
    first = bench.start("--quiet", "--suite", bench.suite(bench.holding()), "--out", bench.out)
    bench.in_mid_run("stub0.r0")
    bench.environment[lock.HELD_BY] = str(first.pid)
    second = bench.run("--suite", bench.home / "suite.toml", "--out", bench.home / "second")
    assert (second.returncode, "is in use" in second.stderr) == (2, True)
    bench.release()
    assert finish(first).returncode == 0


def test_a_cpu_run_has_the_machine_whatever_gpus_are_visible(bench):
    bench.environment["CUDA_VISIBLE_DEVICES"] = "0"
    first = bench.start("--quiet", "--suite", bench.suite(bench.holding()), "--out", bench.out)
    bench.in_mid_run("stub0.r0")
    bench.environment["CUDA_VISIBLE_DEVICES"] = "1"
    arguments = ("--quiet", "--suite", bench.home / "suite.toml", "--out", bench.home / "second")
    refused = bench.run(*arguments, "--device", "cpu")
    assert (refused.returncode, "host is in use" in refused.stderr) == (2, True)
    bench.release()
    assert finish(first).returncode == 0


def test_a_night_runs_under_its_own_lock(bench):
    arguments = ("--suite", bench.suite(), "--repeats", "1", "--results", bench.home / "nights")
    done = bench.run(*arguments, verb="nightly")
    assert (done.returncode, done.stderr) == (0, "")
    assert "learning" in done.stdout
