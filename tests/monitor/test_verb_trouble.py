"""`pagedbench monitor` when something goes wrong: what is told, and what is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from orchestrator import sampler
from orchestrator.supervise import Child
from orchestrator.verbs import pagedbench
from tests.monitor.double import GIB, ROOT, A
from traces.errors import INTERRUPTED, Broken
from traces.records import Header, Mark, Sample
from traces.sampling import Settings
from traces.units import seconds

GPU = f"gpu {A} H100 {80 * GIB} {GIB} 0"
LOST = f"error nvmlDeviceGetMemoryInfo_v2 {A} 1 1000000 15"


def python(code):
    return (sys.executable, "-c", code)


def running(words):
    """Pids of the processes whose command line has these words."""
    found = psutil.process_iter(["pid", "cmdline"])
    return [p.pid for p in found if words in " ".join(p.info["cmdline"] or ())]


def test_a_process_that_ends_before_the_watch_begins(monitor):
    short = subprocess.Popen(["sleep", "60"])
    seen = monitor("--pid", str(short.pid))
    seen.until(Header)  # the sampler has begun, the watch has not
    short.kill()
    short.wait()
    assert seen.end() == 0, seen.err
    assert f"pid {short.pid}" in seen.err
    assert "Traceback" not in seen.err


def test_a_thread_is_refused_with_its_process(monitor):
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    seen = monitor("--pid", str(thread.native_id))
    code = seen.end()
    stop.set()
    assert (code, seen.err) == (
        2,
        f"pagedbench: {thread.native_id} is a thread: give its process, --pid {os.getpid()}\n",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_before_the_command_began_it_is_not_begun(monitor, number):
    seen = monitor(command=("sleep", "54.321"))
    seen.until(Header)
    seen.process.send_signal(number)
    assert seen.end() in (INTERRUPTED, -number)
    assert not running("sleep 54.321")
    assert "Traceback" not in seen.err
    assert "(exit code" not in seen.err


def test_a_lost_gpu_is_in_the_summary(monitor, driver):
    driver.write(GPU)
    seen = monitor(command=("sleep", "4"))
    seen.until(Mark)
    driver.write(GPU, LOST)
    time.sleep(0.5)
    driver.write(GPU)
    assert seen.end() == 0
    (device,) = seen.summary["devices"]
    assert 0.4 < device["silent_s"] < 2.5
    assert device["used_end"] == GIB
    assert "memory not read: for " in seen.err
    assert "(the GPU is lost)" in seen.err


def test_a_gpu_that_is_lost_to_the_end_has_no_memory_at_the_end(monitor, driver):
    driver.write(GPU)
    seen = monitor(command=("sleep", "1.5"))
    seen.until(Mark)
    driver.write(GPU, LOST)
    assert seen.end() == 0
    (device,) = seen.summary["devices"]
    assert device["used_peak"] == GIB
    assert device["used_end"] is None
    assert 0.7 < device["silent_s"] < 1.6


def test_cpu_time_is_of_children_that_nobody_waits_for_too(monitor):
    spin = "import time; end = time.time() + 5\nwhile time.time() < end: pass"
    script = f"('{sys.executable}' -c '{spin}') & sleep 1.2"
    seen = monitor(command=("sh", "-c", script))
    seen.end()
    told = next(line for line in seen.err.splitlines() if line.startswith("CPU time"))
    assert seen.summary["kernel"]["cpu_s"] < 0.2
    assert told == f"CPU time: {seconds(seen.summary['tree']['cpu_s'])}"


def test_records_that_cannot_be_written_to_stdout_do_not_end_the_watch(monitor):
    with Path("/dev/full").open("wb") as full:
        seen = monitor("--json", command=("sh", "-c", "sleep 0.5; exit 6"), stdout=full)
        assert seen.end() == 6
    assert "pagedbench: stdout: No space left on device: see " in seen.err
    assert seen.summary["exit_code"] == 6


def test_what_a_killed_monitor_saw_can_be_reported(monitor, capsys):
    seen = monitor(command=("sleep", "1.234"))
    seen.until(Mark)
    seen.until(Sample)
    seen.process.kill()
    seen.end()
    pagedbench.main(["report", str(seen.folder)], standalone_mode=False)
    assert "`sleep 1.234` (not ended)" in capsys.readouterr().out


def test_a_closed_terminal_ends_the_command_and_leaves_a_summary(monitor):
    seen = monitor(command=("sleep", "60"))
    seen.until(Mark)
    os.killpg(seen.process.pid, signal.SIGHUP)
    assert seen.end() == 128 + signal.SIGHUP
    assert seen.summary["exit_code"] == 128 + signal.SIGHUP


def test_a_command_that_heeds_no_sigterm_is_killed_and_it_is_told(monitor):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    seen = monitor("--duration", "0.5s", command=python(code))
    assert seen.end() == 124
    assert "ended after 0.5 s, as asked, by SIGKILL: it did not heed SIGTERM" in seen.err
    assert 5 < seen.summary["seconds"] < 9


def test_with_a_live_view_all_output_of_the_command_is_in_the_log(monitor):
    seen = monitor("--live", command=("sh", "-c", "echo out; echo err >&2"))
    assert seen.end() == 0
    assert (seen.folder / "command.log").read_text() == "out\nerr\n"
    assert "command.log" in seen.err


def test_a_name_is_free_again_when_nothing_was_seen(monitor, tmp_path):
    script = tmp_path / "script"
    script.write_bytes(b"\x7fELF nonsense")
    script.chmod(0o755)
    for options, command in (((), (str(script),)), (("--gpu", "7"), ())):
        seen = monitor(*options, command=command)
        assert seen.end() == 2
        assert not seen.folder.exists()
        assert len(seen.err.splitlines()) == 1


def test_a_command_with_marks_of_its_own_does_not_break_the_table(monitor):
    seen = monitor(command=("printf", "%s", "a|b\nc"))
    seen.end()
    page = (seen.folder / "summary.md").read_text().splitlines()
    assert page[2].startswith(r"| watched | `printf %s 'a\|b c'` (exit code 0)")


def hangs(config, channel):
    """A sampler whose driver does not answer."""
    time.sleep(60)


def dies(config, channel):
    """A sampler that a signal ends."""
    os.kill(os.getpid(), signal.SIGSEGV)


@pytest.mark.parametrize(
    ("target", "words"),
    [(hangs, "was not ready in 2 s: does the driver answer"), (dies, "the sampler does not start")],
)
def test_a_driver_that_does_not_answer_is_told_from_a_sampler_that_died(
    target, words, monkeypatch, tmp_path
):
    def child(name, _, *rest):
        return Child(name, f"{__name__}:{target.__name__}", *rest)

    monkeypatch.setattr(sampler, "READY_S", 2.0)
    monkeypatch.setattr(sampler, "Child", child)
    settings = Settings(path=str(tmp_path / "samples.jsonl"))
    with pytest.raises(Broken, match=words):
        sampler.SamplerProcess(settings, tmp_path / "sampler.log")


def test_with_neither_gpu_nor_command_there_is_nothing_to_watch(monitor, driver):
    driver.write("driver 580")
    seen = monitor()
    assert seen.end() == 2
    assert seen.err == (
        "pagedbench: nothing to watch: no GPU (the NVIDIA driver lists no GPU); "
        "give a command, or --pid\n"
    )
    assert not seen.folder.exists()


LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
    "from orchestrator.cli import main; sys.argv[0] = 'pagedbench'; main()"
)


def test_a_full_disk_keeps_the_exit_code_of_the_command(tmp_path, driver):
    """The trace's disk, as the watch and its sampler see it, has room for 9,000 bytes a file."""
    argv = ["monitor", "--out", str(tmp_path / "watch"), "--interval", "1ms", "--"]
    code = "import time; time.sleep(1); raise SystemExit(6)"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *argv, *python(code)], cwd=ROOT, text=True,
        env={**os.environ, **driver.environment}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert "the sampler died (cannot write the trace" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_summary_that_cannot_be_written_keeps_the_exit_code_of_the_command(tmp_path, driver):
    """The command makes the folder's summary a folder, which nothing is written over."""
    folder = tmp_path / "watch"
    script = f"mkdir '{folder}/summary.json'; exit 6"
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "monitor", "--out", str(folder), "--", "sh", "-c",
         script],
        cwd=ROOT, text=True, env={**os.environ, **driver.environment}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert done.stderr.startswith("pagedbench: no summary: ")
    assert len(done.stderr.splitlines()) == 1
