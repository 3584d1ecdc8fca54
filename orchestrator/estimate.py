"""How long a run will take: from the last run of the same cells here, else from rough rates.

Only for telling the user; nothing is scheduled by it.
"""

from pathlib import Path

import msgspec

from orchestrator.store import Folder
from orchestrator.suite import Suite
from traces.errors import Problem

# Seconds to start, and output tokens a second, seen with a 135M model on 2 cores and on one H100.
ROUGH = {
    "cpu": {"hf-sequential": (12, 20), "hf-static": (12, 9), "hf-batched": (12, 60),
            "hf-paged": (14, 30), "vllm": (22, 120)},
    "cuda": {"hf-sequential": (20, 25), "hf-static": (20, 25), "hf-batched": (20, 300),
             "hf-paged": (25, 300), "vllm": (75, 3000)},
}  # fmt: skip
UNKNOWN = (30.0, 20.0)


def seconds(
    cells: list[tuple[str, str]], device: str, output_tokens: int, suite: Suite, results: Path
) -> float:
    """Return the estimate for (label, backend) cells of a run of this suite."""
    before = _before(suite, results)
    total = 0.0
    for label, backend in cells:
        start, rate = ROUGH[device].get(backend, UNKNOWN)
        total += before.get(label, start + output_tokens / rate)
    return total


def _before(suite: Suite, results: Path) -> dict[str, float]:
    """Return seconds by label of the newest run of the same suite beside this one."""
    for path in sorted(results.glob("*/suite.json"), reverse=True)[:20]:
        try:
            same = msgspec.json.decode(path.read_bytes(), type=Suite) == suite
            about = Folder(path.parent).cells() if same else {}
        except (OSError, msgspec.DecodeError, Problem):
            continue
        done = {c.label: c.seconds for c in about.values() if c.status == "ok"}
        if done:
            return done
    return {}


def words(total: float) -> str:
    """Say a duration as a person would."""
    return f"{total:.0f} s" if total < 100 else f"{total / 60:.0f} min"
