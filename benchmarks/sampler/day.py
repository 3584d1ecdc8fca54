"""A day's trace at the default interval: how big it is, how long reading it takes, in what memory.

    python -m benchmarks.sampler.day [--hours 24]

Writes what the sampler would write of one GPU (memory every 10 ms, load every 200 ms, processes
and the tree at their own rates) into a temporary file, and collects it as the report does.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from measure.sampled import sampled
from monitor.trace import template
from traces import clock
from traces.reader import read
from traces.records import Device, Host, Load, Procs, Record, Sample
from traces.writer import Writer, encoded

UUID = "GPU-00000000-0000-0000-0000-000000000000"
MS = 1_000_000
SAMPLE = template(
    Sample(t=0, uuid=UUID, used=None, free=None, reserved=None), "used", "free", "reserved"
)


def slower(t: int, tick: int) -> bytes:
    """The records of other kinds that fall on this 10 ms tick."""
    records: list[Record] = [
        Load(t=t, uuid=UUID, gpu_util=87, mem_util=41, power_w=345.678, sm_clock=1980,
             mem_clock=2619, temperature=61, throttle=["sw_power_cap"]),
        Host(t=t, rss=5 << 30, processes=4, cpu_s=12345.6, major_faults=10,
             minor_faults=1 << 20, host_used=20 << 30, host_total=128 << 30, load1=3.5),
    ]  # fmt: skip
    if tick % 100 == 0:
        records.append(Procs(t=t, uuid=UUID, pids={"4242": 70 << 30}, ours=70 << 30, foreign=[]))
    return b"".join(map(encoded, records))


def write(path: Path, hours: float) -> int:
    """Write the trace; returns the number of ticks."""
    ticks = int(hours * 3600 * 100)
    with Writer(path, "monitor") as writer:
        start = clock.now()
        writer.write(
            Device(t=start, uuid=UUID, index=0, name="day", memory_total=80 << 30, driver="-")
        )
        for tick in range(ticks):
            t = start + tick * 10 * MS
            writer.line(SAMPLE % (t, (70 << 30) + tick % 4096, 9 << 30, 500 << 20), t)
            if tick % 20 == 0:
                writer.line(slower(t, tick), t)
    return ticks


def main() -> None:
    """Write, read, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hours", type=float, default=24)
    hours = parser.parse_args().hours
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.jsonl"
        ticks = write(path, hours)
        size = path.stat().st_size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.monotonic()
        seen = sampled(read(path))
        took = time.monotonic() - begin
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert len(seen.devices[UUID].memory) == ticks
    print(
        f"{hours:g} h: {size / 1e9:.2f} GB, {ticks:,} samples, read in {took:.1f} s, "
        f"{(after - before) / 1024:.0f} MiB of memory"
    )


if __name__ == "__main__":
    main()
