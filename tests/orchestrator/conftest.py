"""A bench for each test, and the proof after it that nothing of it still runs."""

import os
import signal

import pytest

from tests.orchestrator.bench import Bench


@pytest.fixture
def bench(tmp_path):
    yield from _checked(Bench(tmp_path))


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    """One bench for a module whose tests all look at the same run."""
    yield from _checked(Bench(tmp_path_factory.mktemp("bench")))


def _checked(bench):
    yield bench
    try:
        assert bench.gone()
    finally:
        for pid in bench.remains():
            os.kill(pid, signal.SIGKILL)
