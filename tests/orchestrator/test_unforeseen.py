"""Whatever happens, it is one line and exit code 2; 1 means a regression and nothing else."""

import getpass
import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator import environment, home, models
from orchestrator.verbs import VERBS
from tests.orchestrator.bench import ROOT
from traces.errors import Problem

MAIN = "import sys; sys.argv[0] = 'pagedbench'; from orchestrator.cli import main; main()"
STRANGER = 12345


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Traces are kept in a folder of this test's."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


def pagedbench_process(*arguments, before="", **settings):
    """The command in a process of its own, `before` run first."""
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{MAIN}", *arguments], cwd=ROOT,
        stdin=subprocess.DEVNULL, **{"capture_output": True, "timeout": 60, **settings},
    )  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("error", [KeyError("uid"), RuntimeError("a\nb"), MemoryError(), OSError()])
def test_every_verb(pagedbench, monkeypatch, temporary, verb, error):
    def fails(ctx):
        raise error

    command = importlib.import_module(f"orchestrator.commands.{verb}").command
    monkeypatch.setattr(command, "params", [])
    monkeypatch.setattr(command, "invoke", fails)
    done = pagedbench(verb)
    (kept,) = temporary.iterdir()
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"pagedbench: a fault of pagedbench: {type(error).__name__}: ")
    assert done.err.endswith(f"; the full trace is in {kept}\n")
    assert "in fails" in kept.read_text()


def test_a_library_that_ends_the_process_decides_nothing(pagedbench, monkeypatch):
    def fails(ctx):
        sys.exit(1)

    command = importlib.import_module("orchestrator.commands.doctor").command
    monkeypatch.setattr(command, "invoke", fails)
    assert pagedbench("doctor").code == 2


@pytest.mark.parametrize("module", ["orchestrator.commands.doctor", "orchestrator.verbs", "click"])
def test_what_cannot_be_imported(module, tmp_path):
    done = pagedbench_process(
        "doctor", before=f"import sys; sys.modules[{module!r}] = None",
        env={"PATH": os.defpath, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert b"ModuleNotFoundError" in done.stderr


def test_ctrl_c_while_it_loads_is_an_interruption():
    before = (
        "import builtins, os, signal\nreal = builtins.__import__\n"
        "def load(name, *rest):\n"
        "    if name == 'click': os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler); builtins.__import__ = load"
    )
    done = pagedbench_process("--help", before=before)
    assert (done.returncode, done.stderr) == (130, b"pagedbench: interrupted\n")


def test_a_trace_that_cannot_be_kept_is_said(pagedbench, monkeypatch, tmp_path):
    def fails(ctx):
        raise ValueError("x")

    command = importlib.import_module("orchestrator.commands.doctor").command
    monkeypatch.setattr(command, "invoke", fails)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    done = pagedbench("doctor")
    assert done.code == 2
    assert done.err.endswith("the full trace could not be kept (No such file or directory)\n")


@pytest.mark.parametrize("arguments", [["--help"], ["trend", "--json", "--results", "results"]])
def test_stdout_that_is_closed(arguments):
    done = pagedbench_process(*arguments, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_streams_that_are_closed_are_not_given_to_the_next_file(fd, tmp_path):
    before = (
        "import orchestrator.verbs as v\n"
        "v.pagedbench.main = lambda **settings: open('/dev/zero').fileno()"
    )
    done = pagedbench_process(before=before, preexec_fn=lambda: os.close(fd))
    assert done.returncode == 3


def test_a_full_stdout_is_no_success():
    with Path("/dev/full").open("wb") as full:
        done = pagedbench_process("--help", stdout=full, capture_output=False, stderr=-1)
    assert done.returncode == 2
    assert done.stderr == b"pagedbench: No space left on device: free some space and try again\n"


def test_names_that_are_not_utf8(bench):
    strange = os.fsdecode(b"caf\xe9")
    (bench.home / strange).mkdir()
    for arguments in (["--model", strange], ["--out", strange + "/x"], ["--suite", strange]):
        done = bench.run("--quiet", "--suite", bench.suite(), *arguments, errors="replace")
        assert done.returncode in (0, 2), arguments
        assert "Traceback" not in done.stderr
        assert "a fault of" not in done.stderr
        assert done.stderr.count("\n") <= 1


def test_a_user_known_by_number_only(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1000")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setenv("HOME", os.devnull)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert home.user() == str(os.getuid())
    found = environment.for_worker()
    assert found["LOGNAME"] == str(os.getuid())
    assert Path(found["HOME"]).is_dir()


def test_the_cache_of_a_user_who_has_one_is_his(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert home.cache() == tmp_path / "mine" / "pagedbench"
    assert models.cache() == tmp_path / "mine" / "pagedbench" / "models"
    assert not (tmp_path / "mine").exists()


def test_a_cache_that_is_somebody_elses_is_not_used(monkeypatch, temporary):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    (temporary / f"pagedbench-{STRANGER}").mkdir()
    with pytest.raises(Problem, match="belongs to somebody else"):
        home.cache()


@pytest.mark.parametrize("settings", [{}, {"HOME": os.devnull}])
def test_a_run_of_a_user_without_passwd_and_home(bench, settings):
    """As in a container that was started for a user id of another machine."""
    unknown = (
        "import pwd\ndef getpwuid(number): raise KeyError(f'uid not found: {number}')\n"
        "pwd.getpwuid = getpwuid"
    )
    for name in ("HOME", "XDG_CACHE_HOME"):
        del bench.environment[name]
    bench.environment |= {"TMPDIR": str(bench.home), **settings}
    arguments = ("--quiet", "--suite", bench.suite(), "--out", bench.out)
    done = bench.run(*arguments, python=("-c", f"{unknown}\n{MAIN}"))
    assert done.returncode == 0, done.stderr
    assert bench.cells()["stub0.r0"]["status"] == "ok"
    assert Path(bench.home, f"pagedbench-{os.getuid()}", "models").is_dir()
    assert not Path(bench.home, "~").exists()
