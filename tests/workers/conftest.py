"""Cells are run once a session, when the first test asks for them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers import cells, plans, tiny
from tests.workers.cells import Ran


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    """The tiny model's folder."""
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def ran(model, tmp_path_factory) -> Callable[..., Ran]:
    """Return what a planned cell recorded; it must have ended well."""
    folder = tmp_path_factory.mktemp("cells")
    known: dict[tuple[str, str], Ran] = {}

    def run(backend: str, plan: str = "distinct") -> Ran:
        if (backend, plan) not in known:
            chosen = plans.PLANS[plan]
            known[backend, plan] = cells.run(
                folder / f"{backend}-{plan}", model, backend, chosen.prompts, **chosen.job(backend)
            )
        found = known[backend, plan]
        assert found.code == 0, found.log[-4000:]
        return found

    return run
