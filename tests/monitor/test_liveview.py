"""What `pagedbench monitor` shows in a terminal while it watches."""

import io
import re

import pytest
from msgspec.structs import replace
from rich.console import Console

from orchestrator.liveview import Screen
from tests.monitor.double import GIB, A
from traces.sampling import DeviceNow, HostNow, Readings

DEVICE = DeviceNow(
    uuid=A, used=2 * GIB, highest=3 * GIB, total=80 * GIB, gpu_util=0, power_w=None,
    silent_s=0.005, why=None,
)  # fmt: skip
HOST = HostNow(rss=GIB, processes=4, cpu_s=1.5, host_used=2 * GIB, host_total=8 * GIB)


def test_the_live_view_shows_memory_now_and_at_most():
    out = io.StringIO()
    view = Screen(Console(file=out, force_terminal=True, width=100), 0.01)
    with view:
        view.show(Readings(devices=[DEVICE], host=HOST))
        view.show(None)
        lower = replace(DEVICE, used=GIB, highest=GIB)
        view.show(Readings(devices=[lower], host=replace(HOST, rss=None)))
    last = out.getvalue().rsplit("now", 1)[1]
    assert A[:12] in last
    assert re.search(r"1\.00 GiB\s+3\.00 GiB\s+0 %", last)
    assert "process tree" not in last


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"silent_s": 4.2}, "no reading for 4 s"),
        ({"used": None, "why": "the GPU is lost"}, "the GPU is lost"),
    ],
)
def test_the_live_view_shows_no_memory_that_is_not_of_now(change, shown):
    out = io.StringIO()
    with Screen(Console(file=out, force_terminal=True, width=100), 0.01) as view:
        view.show(Readings(devices=[replace(DEVICE, **change)], host=HOST))
    text = out.getvalue()
    assert re.search(rf"{A[:12]}\s+{shown}\s+3\.00 GiB", text)
    assert "2.00 GiB" not in text.split("process tree")[0]
