"""The files that let a machine run nights by itself, checked as far as this machine can."""

import configparser
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.compare.toy import ROOT

SYSTEMD = ROOT / "deploy" / "systemd"
CRON = ROOT / "deploy" / "cron" / "pagedbench-nightly"
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"


def unit(name):
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string((SYSTEMD / name).read_text())
    return parser


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_accepts_the_units():
    units = sorted(SYSTEMD.glob("pagedbench-nightly.*"))
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_the_timer_means_every_night():
    when = unit("pagedbench-nightly.timer")["Timer"]["OnCalendar"]
    command = ["systemd-analyze", "calendar", "--iterations=2", when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert len(set(re.findall(r"\w{3} (\d{4}-\d\d-\d\d) 02:00:00", done.stdout))) == 2


def test_locks_are_not_private_to_the_unit():
    assert unit("pagedbench-nightly.service")["Service"]["PrivateTmp"] == "no"


def test_cron_line_has_all_its_fields():
    lines = [line for line in CRON.read_text().splitlines() if not re.match(r"#|[A-Z]+=", line)]
    (line,) = lines
    *when, user, command = line.split(None, 6)
    assert when == ["0", "2", "*", "*", "*"]
    assert user == "bench"
    assert subprocess.run(["bash", "-n", "-c", command]).returncode == 0
    assert "%" not in command  # cron reads it as the end of the line


@pytest.mark.skipif(not find_spec("check_jsonschema"), reason="check-jsonschema is not installed")
def test_workflow_is_one():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema",
               "vendor.github-workflows", str(WORKFLOW)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_workflow_keeps_what_nights_need():
    yaml = pytest.importorskip("yaml")
    flow = yaml.safe_load(WORKFLOW.read_text())
    assert flow["concurrency"]["cancel-in-progress"] is False
    (job,) = flow["jobs"].values()
    assert "self-hosted" in job["runs-on"]
    steps = {step.get("uses", step.get("name")): step for step in job["steps"]}
    assert steps["actions/checkout@v5"]["with"]["clean"] is False
    for step in job["steps"]:  # what a person types must not become a part of the script
        assert "${{" not in step.get("run", "")
        assert subprocess.run(["bash", "-n", "-c", step.get("run", "")]).returncode == 0


@pytest.mark.parametrize("text", [SYSTEMD / "pagedbench-nightly.service", CRON, WORKFLOW])
def test_all_call_make_nightly(text):
    assert re.search(r"make (--no-print-directory )?nightly", text.read_text())


def test_make_nightly_is_there():
    done = subprocess.run(
        ["make", "-n", "nightly", "ARGS=--suite other"], cwd=ROOT, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pagedbench nightly --suite other" in done.stdout
