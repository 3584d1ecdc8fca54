"""The real command line in this process, results in a folder, and a toy repository."""

import sys

import pytest

from benchmarks.synthetic import Shop
from orchestrator import cli
from report import canonical
from tests.results import toy as toys
from tests.results.toy import Done


@pytest.fixture
def pagedbench(capsys, monkeypatch):
    """Run `pagedbench ARGUMENTS` as main() does, and see how it ended."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["pagedbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def stored(tmp_path):
    """Write a result to a folder; return the folder."""

    def store(name: str, result=None, **shop):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        result = Shop(**shop).result() if result is None else result
        (folder / "result.json").write_bytes(canonical.dumps(result))
        return folder

    return store


@pytest.fixture
def toy(tmp_path):
    return toys.make(tmp_path / "toy")


@pytest.fixture
def base(stored):
    return stored("base", seed=1)
