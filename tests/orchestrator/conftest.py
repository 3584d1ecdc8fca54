"""A bench for each test, and the proof after it that nothing of it still runs."""

import pytest

from tests.orchestrator.bench import Bench


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    assert bench.gone()


@pytest.fixture(scope="module")
def shared_bench(tmp_path_factory):
    """One bench for a module whose tests all look at the same run."""
    bench = Bench(tmp_path_factory.mktemp("bench"))
    yield bench
    assert bench.gone()
