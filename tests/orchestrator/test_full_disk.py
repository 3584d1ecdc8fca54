"""A disk that fills up while a run streams to it: one clear line, no hang, and it can go on."""

import resource
import shutil
import subprocess

import pytest

from tests.orchestrator.bench import Bench

DISK = 8 << 20
FREEZE = ["mount", "-o", "remount,ro"]
SHORT = {"kind": "uniform", "requests": 2, "prompt": [4, 8], "output": [4, 6]}
LONG = {"kind": "uniform", "requests": 8, "prompt": [4, 8], "output": [300, 300]}


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", place], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting takes root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    ("free", "workload", "says", "begun"),
    [
        (8 << 10, LONG, "cannot write the trace", False),
        (48 << 10, LONG, "cell.json: cannot be written (No space left on device): free some", True),
        (300 << 10, SHORT, "No space left on device: free some space", True),
    ],
    ids=["sampler", "cell", "report"],
)
def test_full(bench, disk, free, workload, says, begun):
    bench.out = disk / "run"
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK - free))
    suite = bench.suite({"step_s": 0.0002}, workload=workload)
    arguments = ("--quiet", "--suite", suite, "--out", bench.out)
    done = bench.run(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert bench.remains() == {}

    ballast.unlink()
    assert bench.out.exists() == begun
    again = bench.resume() if begun else bench.run(*arguments)
    assert again.returncode == 0
    assert bench.result()["complete"]


def test_a_worker_that_may_not_write_more_is_a_row(bench: Bench):
    """With a limit on the size of files, as a quota: the other files still fit."""
    suite = bench.suite({"step_s": 0.0002}, {}, workload=LONG)
    limit = 150 << 10
    done = bench.run(
        "--quiet", "--suite", suite, "--out", bench.out,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr  # the report does not fit either
    assert "File too large" in done.stderr
    assert {cell["status"] for cell in bench.cells().values()} == {"failed"}
    for cell in bench.cells().values():
        assert cell["reason"].startswith("OSError: [Errno 27] File too large")
        assert cell["kv"]["steps"] > 500


def test_a_child_that_cannot_write_its_log_says_so_in_one_line(bench, disk):
    """Read-only from the moment on that the run's folder is there."""
    bench.out = disk / "run"
    frozen = (
        "import subprocess; from orchestrator import cli, store; create = store.Folder.create\n"
        "def made(*arguments):\n"
        "    folder = create(*arguments)\n"
        f"    folder.write('suite.json', {{}}); subprocess.run({[*FREEZE, str(disk)]})\n"
        "    folder.write = lambda *arguments: None\n"
        "    return folder\n"
        "store.Folder.create = made; cli.main()"
    )
    done = bench.run("--quiet", "--suite", bench.suite(), "--out", bench.out, python=("-c", frozen))
    assert (done.returncode, done.stdout) == (2, "")
    log = bench.out / "prepare.log"
    assert done.stderr == f"pagedbench: {log}: cannot be written (Read-only file system)\n"
