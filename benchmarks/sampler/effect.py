"""What samplers cost, and cost the program that they watch: measured in turns, while it works.

A machine's speed drifts by more, from one run of 20 s to the next, than a sampler takes. So the
effect is measured within a run: the sampler is stopped and woken (SIGSTOP, SIGCONT) in alternate
seconds, and every second is compared with its neighbours, which cancels a steady drift.
"""

import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from math import exp, log
from typing import Any

from benchmarks.sampler.program import Program
from benchmarks.sampler.tools import Readings, Tool, ran_ns
from compare import stats

BLOCK_S = 1.0
COVERED = 0.5  # of a block must be steps of the steady kind, or it is not compared

Cost = dict[str, Any]
Spans = list[tuple[int, int]]
Block = tuple[int, int, bool]


def watched(tool: Tool, pid: int, work: Callable[[], Any]) -> Cost:
    """Do some work under a tool; its CPU share comes from the scheduler, between two instants."""
    tool.start(pid)
    before, begin = ran_ns(tool.session), time.monotonic_ns()
    work()
    ran, span = ran_ns(tool.session) - before, time.monotonic_ns() - begin
    said = tool.stop()
    readings: Readings | None = said["readings"]
    found: Cost = {"tool": tool.name, "cpu_share": ran / span}
    count = said.get("count")
    if readings is not None:
        within = [t for t, _ in readings if begin <= t <= begin + span]
        found["longest_gap_ms"] = max((b - a for a, b in pairwise(within)), default=span) / 1e6
        count = len(within)
    if count is not None:
        found["readings_per_s"] = count / (span / 1e9)
        found["cpu_us_per_reading"] = ran / 1000 / max(1, count)
    if account := said.get("account"):
        ticks = account["ticks"] + account["missed"]
        found["on_time"] = account["ticks"] / ticks
        found["missed_in_driver"] = said["missed_in_driver"] / ticks
        found["jitter_p50_us"] = account["jitter_p50"] / 1000
        found["jitter_p99_us"] = account["jitter_p99"] / 1000
        found["trace_bytes_per_s"] = said["trace_bytes"] / (ticks / account["rate_hz"])
    return found


def costs(
    contestants: list[Tool], program: Program, rounds: int, window: float, until: float
) -> list[Cost]:
    """What each tool costs while the program runs: the median of its windows, taken in turns."""
    order = random.Random(1)
    found: dict[str, list[Cost]] = {tool.name: [] for tool in contestants}
    for _ in fitting(rounds, until):
        for tool in order.sample(contestants, len(contestants)):
            cost = watched(tool, program.pid, lambda: program.do(f"run {window}"))
            found[tool.name].append(cost)
            say(f"{tool.name}: {100 * cost['cpu_share']:.2f} % of a core")
    return [_middle(rows) for rows in found.values() if rows]


def effect(
    contestants: list[Tool], program: Program, rounds: int, window: float, until: float
) -> list[dict[str, Any]]:
    """How much slower the program is for each tool: a ratio from each run, and its interval."""
    order = random.Random(1)
    ratios: dict[str, list[float]] = {tool.name: [] for tool in contestants}
    for _ in fitting(rounds, until):
        for tool in order.sample(contestants, len(contestants)):
            ratio = speed_ratio(*alternating(tool, program, window, order.random() < 0.5))
            ratios[tool.name].append(ratio)
            say(f"{tool.name}: {100 * (ratio - 1):+.2f} %")
    return [
        {"tool": name, "window_s": window, "block_s": BLOCK_S, **interval(found)}
        for name, found in ratios.items() if found
    ]  # fmt: skip


def alternating(tool: Tool, program: Program, window: float, on: bool) -> tuple[Spans, list[Block]]:
    """Run the program with the tool awake in every other second; return its steps and those."""
    tool.start(program.pid)
    blocks = []
    with ThreadPoolExecutor(1) as other:
        running = other.submit(program.do, f"run {window}")
        while not running.done():
            os.killpg(tool.session, signal.SIGCONT if on else signal.SIGSTOP)
            begin = time.monotonic_ns()
            wait([running], BLOCK_S)
            blocks.append((begin, time.monotonic_ns(), on))
            on = not on
        os.killpg(tool.session, signal.SIGCONT)
    tool.stop()
    return running.result(), blocks


def speed_ratio(steps: Spans, blocks: list[Block]) -> float:
    """The program's speed in blocks with the tool over that in the blocks beside them."""
    paces: list[float | None] = []
    for begin, end, _ in blocks:
        within = [b - a for a, b in steps if begin <= a and b <= end]
        enough = sum(within) >= COVERED * (end - begin)
        paces.append(statistics.fmean(within) if enough else None)
    ratios = [
        log(two / one) if on else log(one / two)
        for (one, two), (_, _, on) in zip(pairwise(paces), blocks, strict=False)
        if one is not None and two is not None
    ]
    if not ratios:
        raise SystemExit("the run is too short: no two seconds beside each other to compare")
    return exp(statistics.fmean(ratios))


def fitting(rounds: int, until: float) -> Iterator[None]:
    """So many rounds, or as many as end in time if each takes as long as the one before."""
    span = 0.0
    for _ in range(rounds):
        begun = time.monotonic()
        if begun + span > until:
            return
        yield
        span = time.monotonic() - begun


def _middle(rows: list[Cost]) -> Cost:
    """The median of each figure."""
    return {
        name: value if name == "tool" else statistics.median(row[name] for row in rows)
        for name, value in rows[0].items()
    }


def say(text: str) -> None:
    """Tell who waits how it goes."""
    print(f"  {text}", file=sys.stderr, flush=True)


def interval(ratios: list[float]) -> dict[str, Any]:
    """Geometric mean of the runs' ratios, less one, with its 95 % t interval."""
    found = stats.summarize(ratios)
    if found.low is None or found.high is None:
        return {"n": found.n, "change": None, "low": None, "high": None}
    return {
        "n": found.n, "change": found.mean - 1, "low": found.low - 1, "high": found.high - 1
    }  # fmt: skip
