"""What is in the repository: nothing of any one machine, and a README whose commands exist."""

import importlib
import re
import shlex
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestrator import suite
from orchestrator.verbs import VERBS, pagedbench
from tools import readme

ROOT = Path(__file__).resolve().parents[1]
HOSTS = ("pypi" + ".org", "python" + "hosted.org", "download.py" + "torch.org")
# Folders that exist on somebody's machine, written so that this file does not hold them.
PLACES = [f"/{folder}/".encode() for folder in ("root", "work", "opt", "home", "Users", "mnt")]
PROSE = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()]
PROSE += sorted((ROOT / "docs").glob("*.md"))


@cache
def tracked() -> list[Path]:
    """Files that git knows, or those it would take in."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def holding(*needles: bytes) -> dict[str, list[str]]:
    """Return which files hold which of these."""
    found = {}
    for path in tracked():
        text = path.read_bytes()
        if hits := [needle.decode() for needle in needles if needle in text]:
            found[str(path.relative_to(ROOT))] = hits
    return found


def test_no_path_of_any_one_machine():
    assert holding(*PLACES) == {}


def test_no_package_registry():
    assert holding(*map(str.encode, HOSTS)) == {}


def test_nothing_of_this_machines_pip_settings():
    done = subprocess.run(["pip", "config", "list"], capture_output=True, text=True)
    places = re.findall(r"(?:https?|file)://[^\s']+|(?<=')/[^\s']+", done.stdout)
    names = {urlsplit(place).hostname or urlsplit(place).path for place in places}
    names -= {"", "/etc/ssl/certs/ca-certificates.crt"}
    assert holding(*(name.encode() for name in names if name)) == {}


def test_no_large_file():
    assert {path.name for path in tracked() if path.stat().st_size > 8 << 20} == set()


def test_a_clone_is_small():
    """References are most of it: their traces are gzipped, and one repeat a cell is enough."""
    assert sum(path.stat().st_size for path in tracked()) < 12 << 20
    found = {path.name for path in tracked() if "reference" in path.parts}
    assert [name for name in found if name.endswith(".jsonl")] == []


def test_no_secret_has_slipped_in():
    looks = re.compile(rb"hf_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY")
    assert [path for path in tracked() if looks.search(path.read_bytes())] == []


def code_of(path: Path) -> list[str]:
    """Return the commands in a page: indented and fenced blocks, and `quoted` ones."""
    text = path.read_text()
    blocks = re.findall(r"^(?: {4}|\$ )(.+)$", text, re.MULTILINE)
    fenced = "\n".join(re.findall(r"```.*?\n(.*?)```", text, re.DOTALL)).split("\n")
    return [line.strip() for line in blocks + fenced + re.findall(r"`([^`\n]+)`", text)]


def words_after(command: str, path: Path) -> list[list[str]]:
    """Return the words after each use of a command in a page."""
    uses = []
    for line in code_of(path):
        for use in re.findall(rf"(?:^|&& |; |/){command} ([^#|;&]*)", line):
            try:
                uses.append(shlex.split(use))
            except ValueError:
                continue
    return [use for use in uses if use]


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_make_targets_in_the_prose_exist(path):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for words in words_after("make", path):
        named = {word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)}
        assert named <= targets, words


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_verbs_and_options_in_the_prose_exist(path):
    uses = words_after("pagedbench", path) + words_after("python -m orchestrator", path)
    for verb, *rest in uses:
        if not re.fullmatch(r"[a-z]+", verb):
            continue  # an option of pagedbench itself, or a placeholder
        assert verb in VERBS, (verb, rest)
        known = options(verb)
        for word in rest:
            if word == "--":
                break
            if word.startswith("--"):
                assert word.partition("=")[0] in known, (verb, word)


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_suites_in_the_prose_exist(path):
    for line in code_of(path):
        for named in re.findall(r"--suite[ =]([\w.-]+)", line):
            assert named in suite.names() or "." in named or named.isupper(), line


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links_in_the_prose_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (path.parent / target).exists(), target


def test_paths_in_the_architecture_exist():
    """Whatever stands in it as `folder/file` or `folder/`."""
    quoted = re.findall(r"`([^`\n]+)`", (ROOT / "docs" / "architecture.md").read_text())
    paths = [word for word in quoted if re.fullmatch(r"[\w.-]+/[\w./-]*", word)]
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_readme_has_its_two_commands():
    uses = [words[0] for words in words_after("make", ROOT / "README.md")]
    assert {"bench", "test"} <= set(uses)


def test_the_installed_command_is_the_one_documented():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"pagedbench": "orchestrator.cli:main"}
    assert set(VERBS) == {path.stem for path in (ROOT / "orchestrator/commands").glob("[a-z]*.py")}
    assert pagedbench.name == "pagedbench"


def options(verb: str) -> set[str]:
    command = importlib.import_module(f"orchestrator.commands.{verb}").command
    found = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    return found | {option for p in command.params for option in p.secondary_opts}


def test_readme_tables_are_those_of_the_reference_results():
    """`make readme` makes them; what stands in the README must be what it would write."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.MARKED.search(text)
    assert readme.filled(text) == text
