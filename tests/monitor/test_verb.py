"""`pagedbench monitor`, as a user runs it, above the driver's double."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import psutil
import pytest

from orchestrator.verbs import pagedbench
from report import watched
from tests.monitor.double import GIB, A, B
from traces.errors import Problem
from traces.reader import read
from traces.records import End, Header, Host, Mark, Sample

GPU = f"gpu {A} H100 {80 * GIB} {GIB} 0"
SPIKY = f"spike {A} {GIB} 100000 50000"
ALLOCATE = "import time; x = b'x' * (64 << 20); time.sleep(1.3)"


def python(code):
    return (sys.executable, "-c", code)


def test_what_is_ours_is_not_accounted_to_a_small_command(monitor):
    seen = monitor(command=("sleep", "0.2"))
    assert seen.end() == 0
    assert seen.summary["kernel"]["max_rss_of_one"] is None
    assert seen.summary["kernel"]["cpu_s"] < 0.05
    assert "largest process" not in seen.err


def test_a_command_leaves_trace_summary_and_timeline_and_its_exit_code(monitor, driver):
    driver.write(GPU, SPIKY, f"energy {A} 0 200000")
    seen = monitor(
        command=python(ALLOCATE + "; time.sleep(2); print('hello'); raise SystemExit(7)")
    )
    assert seen.end() == 7
    assert seen.out == "hello\n"
    assert "most memory used: 2.00 GiB of 80.0 GiB" in seen.err
    (device,) = seen.summary["devices"]
    assert (device["uuid"], device["used_peak"]) == (A, 2 * GIB)
    assert device["joules"] == pytest.approx(200 * seen.summary["seconds"], rel=0.1)
    assert seen.summary["tree"]["rss_peak"] > 64 << 20
    assert seen.summary["tree"]["pss_peak"] > 64 << 20
    assert seen.summary["kernel"]["max_rss_of_one"] > 64 << 20
    assert 0.4 < seen.summary["seconds"] < 5
    picture = ElementTree.parse(seen.folder / "timeline.svg").getroot()
    words = [element.text for element in picture.iter() if element.tag.endswith("}text")]
    assert {"Device memory used", "Process tree", "RSS", "PSS"} <= set(words)


def test_the_trace_holds_what_was_there_before_and_after(monitor):
    seen = monitor("--interval", "5ms", command=python("import time; time.sleep(0.3)"))
    assert seen.end() == 0
    begin, end = seen.of(Mark)
    times = [sample.t for sample in seen.of(Sample)]
    assert sum(t < begin.t for t in times) > 20
    assert sum(t > end.t for t in times) > 20
    assert isinstance(list(read(seen.folder / "samples.jsonl"))[-1], End)


def test_a_signal_that_killed_the_command_is_said_as_shells_do(monitor):
    assert monitor(command=("sh", "-c", "kill -9 $$")).end() == 128 + signal.SIGKILL


def test_what_the_command_started_ends_with_it(monitor):
    """A script's own children would else run on, and hold what they hold."""
    code = (
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True)"
    )
    seen = monitor("--duration", "1s", command=python(code + "; time.sleep(60)"))
    assert seen.end() == 124
    assert not psutil.pid_exists(int(seen.out))


def test_json_gives_the_records_to_a_pipe_and_the_commands_output_elsewhere(monitor):
    seen = monitor("--json", "--quiet", command=("sh", "-c", "echo hello; sleep 0.3"))
    assert seen.end() == 0
    assert seen.err == "hello\n"
    assert seen.out == (seen.folder / "samples.jsonl").read_text()
    kinds = [json.loads(line)["k"] for line in seen.out.splitlines()]
    assert kinds[0] == "header"
    assert kinds[-1] == "end"
    assert {"device", "sample", "load", "host", "mark"} <= set(kinds)


def test_a_reader_that_goes_away_does_not_disturb_the_command(monitor):
    seen = monitor("--json", "--quiet", command=("sh", "-c", "sleep 0.7; exit 5"))
    seen.process.stdout.readline()
    seen.process.stdout.close()
    seen.process.stdout = None
    assert seen.end() == 5
    assert seen.summary["exit_code"] == 5


def test_duration_ends_a_command_and_says_so(monitor):
    seen = monitor("--duration", "500ms", command=("sleep", "60"))
    assert seen.end() == 124
    assert "ended after 0.5 s" in seen.err
    assert seen.summary["seconds"] == pytest.approx(0.5, abs=0.4)


def test_a_process_of_others_is_followed_until_it_ends(monitor):
    other = subprocess.Popen(["sleep", "60"])
    seen = monitor("--pid", str(other.pid))
    seen.until(Mark)
    time.sleep(0.3)
    other.kill()
    other.wait()
    assert seen.end() == 0
    assert any(host.rss for host in seen.of(Host))
    assert seen.summary["pid"] == other.pid


def test_the_gpus_alone_are_watched_for_a_while(monitor, driver):
    driver.write(GPU, f"gpu {B} H200 {141 * GIB} 0 0")
    seen = monitor("--gpu", "1", "--duration", "300ms")
    assert seen.end() == 0
    assert [device["uuid"] for device in seen.summary["devices"]] == [B]


def test_ticks_missed_are_a_part_of_those_that_were_due(monitor, driver):
    driver.write(GPU, "slow nvmlDeviceGetMemoryInfo_v2 55000")
    seen = monitor("--gpu", "0", "--duration", "0.7s")
    assert seen.end() == 0
    ((missed, due),) = re.findall(r"(\d+) of (\d+) ticks missed", seen.err)
    assert 0.6 * int(due) < int(missed) < 0.95 * int(due), "five of six, but for the beginning"


def test_ctrl_c_ends_a_watch_without_a_command_in_order(monitor):
    seen = monitor()
    seen.until(Mark)
    os.killpg(seen.process.pid, signal.SIGINT)
    assert seen.end() == 0
    assert seen.summary["sampler"]["ticks"] > 10


def test_ctrl_c_reaches_the_command_and_we_wait_for_it(monitor):
    code = "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: raise SystemExit(3)"
    seen = monitor(command=python(code))
    seen.until(Mark)
    time.sleep(0.5)
    os.killpg(seen.process.pid, signal.SIGINT)
    assert seen.end() == 3
    assert seen.summary["exit_code"] == 3


def test_sigterm_ends_the_command_too(monitor):
    seen = monitor(command=("sleep", "60"))
    seen.until(Mark)
    seen.process.terminate()
    assert seen.end() == 128 + signal.SIGTERM
    assert seen.of(End)


def test_a_sampler_that_dies_does_not_take_the_command_with_it(monitor, driver):
    seen = monitor(command=("sh", "-c", "sleep 1.5"))
    seen.until(Mark)
    (header,) = seen.of(Header)
    os.kill(header.pid, signal.SIGKILL)
    assert seen.end() == 4
    assert "the sampler died" in seen.err
    assert "did not end in order" in seen.err
    assert seen.summary["exit_code"] == 0


def test_numbers_come_from_the_trace_alone(monitor):
    seen = monitor(command=("sleep", "0.2"))
    seen.end()
    before = seen.summary
    for name in ("summary.json", "summary.md", "timeline.svg"):
        (seen.folder / name).unlink()
    watched.write(seen.folder)
    assert seen.summary == before


def test_report_makes_a_watch_anew_too(monitor, capsys):
    seen = monitor(command=("sleep", "0.2"))
    seen.end()
    (seen.folder / "timeline.svg").unlink()
    pagedbench.main(["report", str(seen.folder)], standalone_mode=False)
    assert "`sleep 0.2` (exit code 0)" in capsys.readouterr().out
    assert (seen.folder / "timeline.svg").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--interval", "5"], "duration '5'"),
        (["--duration", "soon"], "duration 'soon'"),
        (["--pid", "4190000"], "no process 4190000"),
        (["--pid", "1", "--", "true"], "give one of them"),
        (["--", "no-such-command"], "no command 'no-such-command'"),
        (["--out", "/"], "exists already"),
        (["--interval", "1us"], "--interval 1us: must lie between 1 ms and 1 h"),
        (["--interval", "2h"], "--interval 2h: must lie between 1 ms and 1 h"),
        (["--out", "/proc/x"], "cannot be written"),
    ],
)
def test_bad_input_is_a_problem_before_anything_starts(argv, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match=words) as told:
        pagedbench.main(["monitor", *argv], standalone_mode=False)
    assert told.value.exit_code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--gpu", "7"], "no GPU '7' on this machine, or more than one; there is: 0"),
    ],
)
def test_what_the_sampler_refuses_is_one_line_and_exit_code_2(monitor, options, words):
    seen = monitor(*options, command=("true",))
    assert seen.end() == 2
    assert words in seen.err
    assert len(seen.err.strip().splitlines()) == 1
