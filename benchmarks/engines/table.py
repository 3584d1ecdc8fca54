"""The engine benchmark's figures: the target, the judgement, and the table in Markdown."""

from pathlib import Path
from typing import Any

from msgspec import Struct, field

from compare import stats

TARGET = 0.01
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
QUICK = "**Quick run: too short and too few to judge by. Do not quote these figures.**"


class Run(Struct, frozen=True):
    """One run of one arm."""

    arm: str
    seconds: float
    tokens: int

    @property
    def rate(self) -> float:
        """Output tokens a second."""
        return self.tokens / self.seconds


class Figures(Struct, frozen=True, kw_only=True):
    """One comparison: two arms, and their runs in the order in which they ran.

    B is what is asked about, A what it is measured against. `one_sided`: B may be faster.
    """

    name: str
    a: str
    b: str
    runs: list[Run]
    one_sided: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def rates(self, arm: str) -> list[float]:
        """Output tokens a second of each run of an arm."""
        return [run.rate for run in self.runs if run.arm == arm]

    def change(self) -> stats.Change:
        """B over A, by geometric means, with Welch's interval on the logarithms."""
        return stats.compare(self.rates("a"), self.rates("b"), better="higher", tau=TARGET)


def met(part: Figures) -> str:
    """Say whether the target is met: yes or no where the whole interval says so, else open."""
    change = part.change()
    if change.low is None or change.high is None or change.weight == "shown":
        return "open"
    highest = float("inf") if part.one_sided else 1 + TARGET
    if change.low >= 1 - TARGET and change.high <= highest:
        return "yes"
    return "no" if change.high < 1 - TARGET or change.low > highest else "open"


def render(found: dict[str, Any], parts: list[Figures]) -> str:
    """Return the table of all parts that were measured, and where that was."""
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    gpus = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    plan = found.get("plan", {})
    where = (
        f"{plan.get('model', '-')} on {plan.get('device', '-')}, {plan.get('dtype', '-')}; {gpus}; "
        f"{machine['cpu']['cores']} cores of {machine['cpu']['model']}; {versions}."
    )
    head = ["B against A", "n", "run, s", "A, tok/s", "B, tok/s", "B / A (95 %)", "asked", "met"]
    lines = [head, ["---"] * len(head), *(_row(part, found["quick"]) for part in parts)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([*([QUICK] if found["quick"] else []), where, table]) + "\n"


def _row(part: Figures, quick: bool) -> list[str]:
    change = part.change()
    interval = ""
    if change.low is not None and change.high is not None:
        interval = f" ({change.low:.4f} to {change.high:.4f})"
    verdict = "not judged" if quick else met(part)
    if verdict == "open" and change.repeats_needed:
        verdict += f", {change.repeats_needed} repeats might settle it"
    return [
        f"{part.b} against {part.a}",
        str(min(change.base.n, change.head.n)),
        f"{min(run.seconds for run in part.runs):.1f} or more",
        f"{change.base.mean:,.1f}",
        f"{change.head.mean:,.1f}",
        "-" if change.ratio is None else f"{change.ratio:.4f}{interval}",
        f"{1 - TARGET:g} or more" if part.one_sided else f"{1 - TARGET:g} to {1 + TARGET:g}",
        verdict,
    ]


def fill(page: Path, table: str) -> None:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}{END}{after}")
