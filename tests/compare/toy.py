"""A toy repository whose `make setup` and `pagedbench run` take no time, and helpers around it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = """\
setup: .venv/bin/pagedbench
.venv/bin/pagedbench:
\t@mkdir -p .venv/bin
\t@printf '#!/bin/sh\\nexec %s "%s" "$$@"\\n' '{python}' '{script}' > $@
\t@chmod +x $@
bench: setup
\t@.venv/bin/pagedbench run --suite seed $(ARGS)
nightly: setup
\t@.venv/bin/pagedbench nightly $(ARGS)
"""


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass
class Toy:
    """The repository."""

    path: Path
    environment: dict[str, str]

    def shell(self, command: str) -> Done:
        """Run a command line in it."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.path, env=self.environment, capture_output=True,
            text=True, timeout=120,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def pagedbench(self, *arguments: str) -> Done:
        """Run its pagedbench."""
        return self.shell(" ".join([".venv/bin/pagedbench", *arguments]))

    def engine(self, **plan: object) -> None:
        """Change what its engines do."""
        (self.path / "engine.json").write_text(json.dumps(plan))

    def commit(self, message: str, **plan: object) -> str:
        """Change the engines and commit that; return the commit."""
        self.engine(**plan)
        done = self.shell(f"git add -A && git commit -qm '{message}' && git rev-parse HEAD")
        assert done.code == 0, done.err
        return done.out.strip()

    def nights(self) -> list[Path]:
        """The nights' folders, oldest first."""
        return sorted(path.parent for path in self.path.glob("results/*/night.json"))


def make(path: Path) -> Toy:
    """A repository with one commit, set up."""
    path.mkdir()
    home = path.parent / "home"
    toy = Toy(path, environment(home))
    script = ROOT / "tests" / "compare" / "stand_in.py"
    (path / "Makefile").write_text(MAKEFILE.format(python=sys.executable, script=script))
    (path / ".gitignore").write_text(".venv/\nresults/\n")
    assert toy.shell("git init -q -b main").code == 0
    toy.commit("first", noise=0.005)
    assert toy.shell("make setup").code == 0
    return toy


def environment(home: Path) -> dict[str, str]:
    """Nothing of ours: a home, a cache and locks of its own."""
    for folder in (home / "cache", home / "locks"):
        folder.mkdir(parents=True, exist_ok=True)
    git = {f"GIT_{who}_{what}": f"{what}@example.org".lower()
           for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
    return {
        "PATH": os.environ["PATH"], "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"),
        "PAGEDBENCH_LOCKS": str(home / "locks"), "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_GLOBAL": os.devnull, **git,
    }  # fmt: skip
