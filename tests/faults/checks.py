"""What must hold after every fault: nobody survives, no lock is held, every file can be read, the
code is a documented one, and no number is one that the fault made."""

import fcntl
import json
import os
import signal
import time
from typing import Any

from measure import canonical
from measure.result import Cell, Result
from tests.faults.scene import Breach, Done, Scene
from traces.reader import Damage, TraceError, read

DOCUMENTED = (0, 2, 3, 4, 5, 124, 130)
SETTLE_S = 10.0
SIZES = ("bytes_per_slot", "block_size", "layout")
KV = (*SIZES, "peak_live", "peak_reserved", "peak_running")
MEMORY = 3.0  # how many times its memory a run of the same kind may have, or its part of it


def expect(true: object, what: str) -> None:
    """Raise Breach where it is not true."""
    if not true:
        raise Breach(what)


def ended(scene: Scene, done: Done, *codes: int) -> None:
    """The command ended with one of these codes, said one line of it, and left nothing behind."""
    said = done.err.strip()
    expect(done.code in codes, f"exit code {done.code}, not one of {codes}: {said[-600:]}")
    expect("Traceback" not in done.err + done.out, f"a traceback: {said[-600:]}")
    expect("a fault of pagedbench" not in done.err, said[-600:])
    if done.code == 2:
        expect(said.count("\n") == 0 and said, f"not one line: {said[-600:]}")
        expect(done.out == "", f"it printed, too: {done.out[-300:]}")
    quiet(scene)


def quiet(scene: Scene) -> None:
    """No process of it runs any more, and no lock of it is held."""
    end = time.monotonic() + SETTLE_S
    while (left := scene.bench.remains()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    expect(not left, f"survivors: {left}")
    for path in scene.home.glob("pagedbench-*.lock"):
        with path.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Breach(f"{path.name} is still held") from None


def readable(scene: Scene, *, torn: bool = False) -> None:
    """Every file of the run can be read whole; a last line may be torn where its writer was killed.

    A killed writer may leave a trace in which nothing is yet.
    """
    for path in scene.bench.out.rglob("*.json*"):
        if path.name.endswith(".unfinished"):
            expect(torn, f"{path.name} is left over")
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl" and path.stat().st_size:
            damage = Damage()
            try:
                sum(1 for _ in read(path, damage))
            except TraceError:
                expect(torn and b"\n" not in path.read_bytes(), f"{path}: no trace")
            expect(not damage.bad, f"{path}: {damage.bad} bad lines")
            expect(torn or not damage.torn, f"{path}: torn")


def result(scene: Scene) -> Result | None:
    """The result there is, if there is one."""
    path = scene.bench.out / "result.json"
    return canonical.loads(path) if path.is_file() else None


def true_numbers(scene: Scene, engine: str, seconds: float) -> None:
    """Every cell that claims to be well has what a run that nothing happened to has."""
    found, like = result(scene), canonical.loads(scene.whole(engine) / "result.json")
    whole = like.cells[0]
    for cell in found.cells if found else []:
        if cell.status == "ok" and found:
            ids = found.model.sha256 == like.model.sha256
            ours, theirs = exact(cell, ids), exact(whole, ids)
            expect(ours == theirs, f"numbers changed: {ours} not {theirs}")
            measured(cell, whole, seconds)


def exact(cell: Cell, ids: bool = True) -> dict[str, Any]:
    """What the same tokens through the same engine give to the digit; `ids` of the same weights.

    Which requests meet in a step of vLLM's, in a process of its own, is up to their way there.
    """
    together = cell.backend == "vllm"
    kv = {name: getattr(cell.kv, name) for name in (SIZES if together else KV)} if cell.kv else None
    tokens = [
        (
            row.id,
            row.prompt_tokens,
            row.output_tokens,
            row.token_ids_sha256 if ids and not together else "",
        )
        for row in cell.rows
    ]
    return {
        "requests": (cell.requests_run, cell.requests_asked, cell.truncated),
        "tokens": (cell.output_tokens, tokens), "kv": kv,
    }  # fmt: skip


def measured(cell: Cell, whole: Cell, seconds: float) -> None:
    """What is measured lies within what the clock on the wall and the like of it allow."""
    wall = cell.timing.wall if cell.timing else None
    expect(wall is None or 0 < wall < seconds, f"{wall} s of a run in {seconds:.1f} s")
    for phase in cell.phases:
        expect(
            0 <= (phase.seconds or 0) < seconds,
            f"{phase.name}: {phase.seconds} s in {seconds:.1f} s",
        )
    ours, theirs = host_peak(cell), host_peak(whole)
    if ours is not None and theirs is not None:
        expect(theirs / MEMORY < ours < theirs * MEMORY, f"host peak {ours} beside {theirs}")


def host_peak(cell: Cell) -> int | None:
    return next((phase.host_peak for phase in cell.phases if phase.name == "run"), None)


def resumes(scene: Scene, engine: str, *codes: int) -> None:
    """It goes on to a whole result with the right numbers; or is refused with a reason (2)."""
    done = scene.resume()
    ended(scene, done, *(codes or (0,)))
    if done.code == 0:
        found = result(scene)
        expect(found and found.complete, "resumed, and not complete")
        true_numbers(scene, engine, scene.elapsed())
        for cell in found.cells if found and engine == "hf" else []:
            judged = cell.parity and cell.parity.verdict
            expect(judged in ("pass", None), f"parity {judged}: {cell.parity}")
