"""Where it is run from and on what: files beside the user's, a hook of git, a container's limit."""

import os
import subprocess

import pytest

from orchestrator import cgroup, git, lock
from orchestrator.commands.diff import tolerances
from tests.orchestrator.bench import ROOT
from traces.errors import Problem

MAIN = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom orchestrator.cli import main\nmain()\n"


@pytest.mark.parametrize("name", ["random", "logging", "secrets", "json"])
def test_a_file_of_the_current_folder_is_no_module(bench, name):
    """As a console script is started, whose own folder comes first on the path."""
    (bench.home / f"{name}.py").write_text("raise SystemExit('not that one')")
    (bench.home / "bin").mkdir()
    (bench.home / "bin" / "pagedbench").write_text(MAIN)
    arguments = ("--quiet", "--suite", bench.suite(), "--out", bench.out)
    done = bench.run(*arguments, python=(str(bench.home / "bin" / "pagedbench"),))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def repository(tmp_path):
    def run(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path / "one", check=True, capture_output=True)

    (tmp_path / "one").mkdir()
    run("init")
    run("-c", "user.name=x", "-c", "user.email=x@y", "commit", "--allow-empty", "-m", "first")
    return tmp_path / "one"


def test_in_a_hook_the_folder_is_asked_not_the_hooks_repository(repository, tmp_path, monkeypatch):
    ours, _ = git.revision("HEAD", ROOT)
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository / ".git" / "index"))
    assert git.revision("HEAD", ROOT) == (ours, "")
    found = git.state(ROOT)
    assert found is not None
    assert found.commit == ours


def test_gits_own_reason_is_told(repository, tmp_path, monkeypatch):
    assert git.revision("no-such", repository) == (None, "git: fatal: Needed a single revision")
    (tmp_path / "empty").mkdir()
    assert "not a git repository" in git.revision("HEAD", tmp_path / "empty")[1]
    (repository / ".git" / "shallow").write_text(f"{git.revision('HEAD', repository)[0]}\n")
    assert "shallow clone: `git fetch --unshallow`" in git.revision("HEAD~1", repository)[1]
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert "dubious ownership" in git.revision("HEAD", repository)[1]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.revision("HEAD", repository) == (None, "git: No such file or directory")
    assert git.state(repository) is None


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/", {"memory.max": "1000\n"}, 1000),
        ("0::/", {"memory.max": "max\n"}, None),
        ("0::/a/b", {"a/memory.max": "2000", "a/b/memory.max": "max"}, 2000),
        ("0::/a/b", {"a/memory.max": "2000", "a/b/memory.max": "1500"}, 1500),
        ("3:cpu:/a\n4:memory:/a", {"memory/a/memory.limit_in_bytes": "3000"}, 3000),
        ("4:memory:/", {"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),
        ("0::/gone", {}, None),
        ("", {}, None),
    ],
)
def test_the_limit_of_a_container(tmp_path, monkeypatch, membership, files, expected):
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(membership)
    monkeypatch.setattr(cgroup, "ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(cgroup, "MEMBERSHIP", tmp_path / "self")
    assert cgroup.limit() == expected


def test_why_a_process_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "VMSTAT", tmp_path / "vmstat")
    monkeypatch.setattr(cgroup, "limit", lambda: 3 << 30)
    assert cgroup.kills() == 0
    (tmp_path / "vmstat").write_text("nr_free_pages 3\noom_kill 7\n")
    assert cgroup.why_killed(6) == "by the kernel, out of memory (the limit here is 3.0 GiB)"
    assert cgroup.why_killed(7).startswith("perhaps by the kernel, out of memory")


def test_without_a_gpu_there_is_one_lock_whatever_is_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(lock, "_any_gpu", lambda: False)
    assert lock.gpus() == []
    monkeypatch.setattr(lock, "_any_gpu", lambda: True)
    assert lock.gpus() == ["0"]


@pytest.mark.parametrize(
    ("text", "share"),
    [("3%", 0.03), ("0.03", 0.03), ("0", 0.0), ("0%", 0.0), ("300%", 3.0), ("0.999", 0.999)],
)
def test_tolerances(text, share):
    assert tolerances((f"ttft_mean={text}",)) == {"ttft_mean": pytest.approx(share)}


@pytest.mark.parametrize(
    ("text", "says"),
    [("3", "write it as ttft_mean=3%"), ("1", "write it as ttft_mean=1%"),
     ("-1%", "write it as ttft_mean=3%"), ("nan", "write it as"), ("1e3%", "write it as")],
)  # fmt: skip
def test_tolerances_that_would_let_all_pass(text, says):
    with pytest.raises(Problem, match=says):
        tolerances((f"ttft_mean={text}",))


def test_git_is_told_of_no_repository(monkeypatch):
    monkeypatch.setenv("GIT_DIR", "x")
    assert "GIT_DIR" not in git.environment()
    assert "GIT_DIR" in os.environ
