"""Check every run's tokens against the model, in a process of its own (see workers/parity.py)."""

from orchestrator import environment
from orchestrator.events import Show
from orchestrator.helpers import answered
from orchestrator.store import Folder
from orchestrator.supervise import Child
from traces.cell import About
from traces.errors import Problem
from traces.messages import Phase
from traces.parity import Judged, Judging, Parity

UNJUDGED = "not judged: "


def judge(
    folder: Folder, model: str, device: str, dtype: str, trust_remote_code: bool, show: Show
) -> None:
    """Judge the cells that ended well, and the points in them, unless all are judged already."""
    cells = {n: about for n, about in folder.cells().items() if about.status == "ok"}
    if all(map(_judged, cells.values())):
        return
    traces: dict[str, str] = {}
    points: list[str] = []
    for name, about in cells.items():
        trace = str(folder.path / "cells" / about.folder / "worker.jsonl")
        names = [point.name for point in about.points]
        points += names
        traces |= dict.fromkeys(names or [name], trace)
    asked = Judging(
        model=model, device=device, dtype=dtype, workload=str(folder.path / "workload.json"),
        cells=traces, reference=_reference(cells, traces), points=points,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    show(Phase(name="parity", edge="begin"))
    log = next(folder.numbered("parity", ".log"))
    child = Child("parity", "workers.parity:main", asked, log, environment.for_worker())
    try:
        verdicts = answered(child, Judged, show).parity
    except Problem as problem:
        verdicts = dict.fromkeys(traces, _unjudged(asked.reference, str(problem)))
    finally:
        child.stop(ask_s=2.0)
    for name, about in cells.items():
        about.parity = verdicts.get(name)
        about.parities = {point.name: verdicts[point.name] for point in about.points}
        Folder(folder.path / "cells" / about.folder).write("cell.json", about)


def _judged(about: About) -> bool:
    """Whether there are verdicts; where the judge broke, there are none yet."""
    found = [parity for parity in (about.parity, *about.parities.values()) if parity]
    return bool(found) and not any(parity.note.startswith(UNJUDGED) for parity in found)


def _reference(cells: dict[str, About], judged: dict[str, str]) -> str:
    """Return whose ids the others are compared with: the plainest way to generate."""
    plain = [name for name, about in cells.items() if about.backend == "hf-sequential"]
    return min(plain or judged)


def _unjudged(reference: str, why: str) -> Parity:
    return Parity(
        verdict="n/a", method="greedy regret", reference=reference, identical=0, compared=0,
        note=f"{UNJUDGED}{why}",
    )  # fmt: skip
