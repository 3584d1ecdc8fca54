"""The double, compiled once, and a scripted driver for each test."""

import pytest

from tests.monitor.double import Driver, compile_driver


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return compile_driver(tmp_path_factory.mktemp("nvml") / "today")


@pytest.fixture(scope="session")
def old_library(tmp_path_factory):
    return compile_driver(tmp_path_factory.mktemp("nvml") / "old", "-DOLD_DRIVER")


@pytest.fixture(autouse=True)
def _every_device_is_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def driver(library, tmp_path):
    return Driver(library, tmp_path)
