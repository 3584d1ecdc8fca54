"""Settings of the tests of the report, and a page in a browser for those that look at one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.report import outside
from tests.report.browser import Opened, browser, open_page

settings.register_profile("report", deadline=None)  # time says little on a shared machine
settings.load_profile("report")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return outside.make(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def opened(chromium, path) -> Opened:
    return open_page(chromium, path)
