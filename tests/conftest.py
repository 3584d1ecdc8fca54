"""For all tests: Ctrl-C must reach the processes that they start; and the command line, results in
a folder, and a toy repository."""

import signal
import sys

import pytest

from benchmarks.synthetic import Shop
from measure import canonical
from orchestrator import cli
from tests.compare import toy as toys
from tests.compare.toy import Done

# A shell starts background jobs with SIGINT ignored, and that is inherited: a job runner may do
# so. pytest then takes it again, and so do the processes whose interruption is tested.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
