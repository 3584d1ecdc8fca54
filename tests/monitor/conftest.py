"""The double, compiled once, and a scripted driver for each test."""

import shutil

import pytest

from tests.monitor.double import Driver, compile_driver
from tests.monitor.watching import Watch


def driver_of(folder, *flags):
    if shutil.which("cc") is None:
        pytest.skip("no C compiler here: the driver's double cannot be built")
    return compile_driver(folder, *flags)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return driver_of(tmp_path_factory.mktemp("nvml") / "today")


@pytest.fixture(scope="session")
def old_library(tmp_path_factory):
    return driver_of(tmp_path_factory.mktemp("nvml") / "old", "-DOLD_DRIVER")


@pytest.fixture(autouse=True)
def _every_device_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def driver(library, tmp_path):
    return Driver(library, tmp_path)


@pytest.fixture
def monitor(driver, tmp_path):
    def monitor(*options, command=(), **settings):
        return Watch(tmp_path, driver, *options, command=command, **settings)

    return monitor
