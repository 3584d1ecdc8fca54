"""Stands in for `pagedbench` in a toy repository: `run` writes a synthetic result at once.

What the engines of that repository do is in its engine.json: `slower`, `more_slots` and so on, as
benchmarks.synthetic.Shop takes them, and `exit` to end with that code and no result. Every other
verb is the real one.
"""

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.synthetic import Shop
from measure import canonical
from orchestrator import cli
from orchestrator.store import Folder


def main() -> None:
    if sys.argv[1] == "run":
        run(sys.argv[2:])
        return
    if sys.argv[1] == "nightly":
        sys.argv += ["--pagedbench", ".venv/bin/pagedbench"]
    cli.main()


def run(arguments: list[str]) -> None:
    """The flags that matter of `pagedbench run`."""
    given = dict(pairwise(arguments))
    engine = json.loads(Path("engine.json").read_text())
    if "exit" in engine:
        print("the engine broke")
        sys.exit(engine["exit"])
    time.sleep(engine.pop("sleep", 0))
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    shop = Shop(
        repeats=int(given.get("--repeats", 5)), git={"commit": commit, "dirty": False},
        seed=time.monotonic_ns(), begun=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **engine,
    )  # fmt: skip
    out = Path(given["--out"]) if "--out" in given else None
    folder = Folder.create(out, Path("results"), "seed", commit)
    folder.write("result.json", canonical.dumps(shop.result()))
    (folder.path / "samples.jsonl").write_text("a large trace\n")
    folder.point_latest()
    print(f"Everything is in {folder.path}")


if __name__ == "__main__":
    main()
