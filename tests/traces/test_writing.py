"""When a record reaches the kernel, and what a killed or full writer leaves behind."""

import errno
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from traces import clock
from traces.reader import Damage, read
from traces.records import Phase
from traces.writer import BUFFER_BYTES, Writer

MS = 1_000_000


def phase(t=None, name="run"):
    return Phase(t=clock.now() if t is None else t, name=name, edge="begin")


@pytest.fixture
def written(tmp_path):
    """A writer, and what of it is in the file."""
    path = tmp_path / "trace.jsonl"
    with Writer(path, "test") as writer:
        yield writer, lambda: path.read_bytes().count(b"\n") - 1


def test_the_header_is_there_at_once(written):
    _, lines = written
    assert lines() == 0


def test_records_are_collected_for_less_than_100_ms(written):
    writer, lines = written
    begun = clock.now()
    writer.flush()
    for ms in range(0, 95, 5):
        writer.write(phase(begun + ms * MS))
    assert lines() == 0
    writer.write(phase(clock.now() + 100 * MS))
    assert lines() == 20


def test_or_until_64_kib_are_waiting(written):
    writer, lines = written
    now = clock.now()
    while lines() == 0:
        writer.write(phase(now, name="x" * 1000))
    assert BUFFER_BYTES / 1100 <= lines() <= BUFFER_BYTES / 1000 + 1


def test_flush_and_close(written):
    writer, lines = written
    writer.write(phase())
    writer.flush()
    assert lines() == 1
    writer.write(phase())
    writer.close()
    writer.close()
    assert lines() == 2


def test_kill_9_costs_at_most_100_ms_of_records(tmp_path):
    """The writer tells each record's time before it writes it: only the last 100 ms may be lost."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from traces import clock\n"
        "from traces.records import Phase\n"
        "from traces.writer import Writer\n"
        "writer = Writer(Path(sys.argv[1]), 'test')\n"
        "while True:\n"
        "    t = clock.now()\n"
        "    sys.stdout.write(f'{t}\\n')\n"
        "    writer.write(Phase(t=t, name='run', edge='begin'))\n"
        "    time.sleep(0.001)\n"
    )
    path = tmp_path / "trace.jsonl"
    told = tmp_path / "told"
    with told.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-u", "-c", code, path], stdout=out)
    while process.poll() is None and told.read_bytes().count(b"\n") < 300:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    times = [int(line) for line in told.read_text().splitlines()]
    damage = Damage()
    kept = {record.t for record in read(path, damage)}
    assert damage == Damage()
    lost = [t for t in times if t not in kept]
    assert len(times) > len(lost) + 50
    # A write is due with the first record that is 100 ms past the last one.
    steps = [b - a for a, b in pairwise(times)]
    assert not lost or times[-1] - lost[0] < 100 * MS + max(steps)


def test_a_full_disk_is_the_callers_to_handle(written, tmp_path, monkeypatch):
    writer, lines = written
    for number in range(5):
        writer.write(phase(number))
    real = os.write
    space = [150]

    def full(fd, data):
        if not space[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, space[0] = data[: space[0]], 0
        return real(fd, taken)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            writer.flush()
    assert lines() < 5
    writer.flush()  # some space was made: it goes on where it stopped
    damage = Damage()
    assert [r.t for r in read(tmp_path / "trace.jsonl", damage)][1:] == [0, 1, 2, 3, 4]
    assert damage == Damage()


def test_records_of_one_process_do_not_tear_those_of_another(tmp_path):
    """Lines are appended whole, so that a forked child could share the file."""
    writer = Writer(tmp_path / "trace.jsonl", "test")
    pid = os.fork()
    for _ in range(200):
        writer.write(phase())
        writer.flush()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    writer.close()
    damage = Damage()
    assert sum(1 for _ in read(tmp_path / "trace.jsonl", damage)) == 401
    assert damage == Damage()
