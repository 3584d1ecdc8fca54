"""What the page's template shows of a result: sentences, tables and checks, as plain text.

Nothing here is markup: the template escapes all of it.
"""

import re
import shlex

from msgspec import Struct

from compare import headline, metrics, stats, summary
from compare.fact import Fact
from compare.summary import Column
from measure.result import Check, Result
from report import policies, words
from report.rows import TableRow, rows
from traces import units
from traces.owned import owned

# What a reader could take a fact of the headline for, and should not.
CAVEATS = {
    "kv_efficiency": "This is about the slots that requests hold, not about all memory: how large "
    "an engine's pool is, is a setting.",
    "kv_bytes_per_live_token": "Weights are not in it, nor the part of a pool that no request "
    "holds.",
}
MEMORY = {
    "device": "Memory is what the GPU reports as used.",
    "host": "Memory is the host's: PSS of the backend's processes, which divides shared pages.",
}


class BigFact(Struct, frozen=True, kw_only=True):
    """A fact of the headline: its one number, the sentence, and what makes it less than it says."""

    big: str
    text: str
    caveat: str


class ColumnView(Struct, frozen=True, kw_only=True):
    """One backend in the table side by side, and what else to know about it."""

    label: str
    heading: str
    ok: int
    repeats: int
    status: str
    notes: list[str]
    log: str


class CheckView(Struct, frozen=True, kw_only=True):
    """One check of one backend."""

    verdict: str
    said: str
    note: str = ""


class ResultView(Struct, frozen=True, kw_only=True):
    """One result. `name` tells two results apart; `checks` are by name, a place per backend.

    `paging` are the facts of one engine with only the allocation changed, `equal` what was the same
    then; `facts` those of engine against engine.
    """

    name: str
    paging: list[BigFact]
    equal: str
    facts: list[BigFact]
    used: list[tuple[str, str]]
    external: str
    sentences: list[str]
    memory: str
    columns: list[ColumnView]
    rows: list[TableRow]
    checks: list[tuple[str, list[CheckView | None]]]
    command: str
    environment: list[tuple[str, str]]
    suite: str


def result_view(result: Result, name: str) -> ResultView:
    """What the template shows of one result."""
    found = summary.columns(result)
    kind = summary.memory_kind(result)
    least = TableRow(name="enough", title=words.ENOUGH, cells=list(map(words.enough, found)))
    kinds = [words.kind(column) or units.DASH for column in found]
    both = headline.same_engine(result)
    facts = [
        (fact.against, BigFact(big=_big(fact), text=fact.text, caveat=_caveat(fact, found)))
        for fact in headline.headline(result)
    ]
    return ResultView(
        name=name,
        paging=[fact for against, fact in facts if both and against == both[1]],
        equal=policies.equal(found, both) if both else "",
        facts=[fact for against, fact in facts if not both or against != both[1]],
        used=[
            (words.heading(column), words.used(column, kind, _speed(column))) for column in found
        ],
        external=words.external(found),
        sentences=[*words.sentences(result, found), *filter(None, [words.once(found)])],
        memory=MEMORY[kind],
        columns=[_column(column) for column in found],
        rows=[TableRow(name="layout", title="KV cache", cells=kinds), *rows(found), least],
        checks=_checks(found),
        command=_command(result),
        environment=words.flat(result.environment),
        suite="\n".join(f"{name} = {value}" for name, value in words.flat(result.suite)),
    )


def _speed(column: Column) -> stats.Summary | None:
    """The throughput over the repeats, with its interval; none where it is not the engine's own."""
    if column.cut_short:
        return None
    values = metrics.values(metrics.get("output_tokens_per_s"), column.cells)
    return stats.summarize(values) if values else None


def _big(fact: Fact) -> str:
    """A fact in one number."""
    if fact.ratio and fact.ratio != 1:
        digits = 2 if fact.repeats == 1 else 3
        return units.ratio(fact.ratio if fact.ratio > 1 else 1 / fact.ratio, digits) + (
            "" if fact.ratio > 1 else " less"
        )
    return units.show(fact.value, fact.unit)


def _caveat(fact: Fact, found: list[Column]) -> str:
    """What a reader could take it for, and every doubt about the two backends."""
    sides = [column for column in found if column.label in (fact.label, fact.against)]
    said = [CAVEATS.get(fact.name, ""), *(d for column in sides for d in words.doubts(column))]
    return " ".join(part if part.endswith(".") else f"{part}." for part in said if part)


def _column(column: Column) -> ColumnView:
    return ColumnView(
        label=column.label,
        heading=words.heading(column),
        ok=column.ok,
        repeats=column.repeats,
        status=words.status(column),
        notes=words.notes(column),
        log="\n".join(column.log_tail) if column.ok < column.repeats else "",
    )


def _checks(found: list[Column]) -> list[tuple[str, list[CheckView | None]]]:
    """A row for each check, a cell for each backend; parity is one of them."""
    made: dict[str, list[CheckView | None]] = {}
    for place, column in enumerate(found):
        for check in column.checks:
            row = made.setdefault(check.name, [None] * len(found))
            row[place] = CheckView(verdict=check.verdict, said=_both(check), note=check.note)
        if column.parity:
            row = made.setdefault(f"same tokens as {column.parity.reference}", [None] * len(found))
            said = [words.parity(column.parity).removeprefix(f"{column.parity.verdict}: ")]
            said.append(column.parity.method)
            said += [words.divergence(column.parity), column.parity.note]
            text = "; ".join(part for part in said if part)
            row[place] = CheckView(verdict=column.parity.verdict, said=text)
    return list(made.items())


def _both(check: Check) -> str:
    """Both numbers; nothing where the note says why there is no other."""
    if check.theirs is None and check.note:
        return ""
    return f"{words.side(check, check.ours)} / {words.side(check, check.theirs)}"


def _command(result: Result) -> str:
    """The command that makes this run again: as it was recorded, or from its suite."""
    recorded = result.volatile.get("command")
    if recorded:
        return shlex.join(map(str, recorded)) if isinstance(recorded, list) else str(recorded)
    suite = result.suite
    parts = ["pagedbench", "run", "--suite", suite.get("name", ""), "--model", result.model.name]
    parts += ["--dtype", result.dtype, "--device", result.device]
    parts += ["--repeats", suite.get("repeats") or 1]
    for label in dict.fromkeys(cell.label for cell in result.runs):
        parts += ["--backend", label]
    return shlex.join(map(str, parts))


def title(result: Result) -> str:
    """Model, precision and workload."""
    return f"{result.model.name}, {result.dtype}, {result.workload.name}"


def about(result: Result) -> str:
    """What ran, where and when, in a line."""
    load = result.workload
    said = (
        f"{load.requests} requests with {load.prompt_tokens:,} prompt tokens, "
        f"{load.output_tokens:,} output tokens asked for, on {_machine(result)}."
    )
    begun = result.volatile.get("begun")
    said += f" Begun {_moment(words.cut(begun))}." if begun else ""
    return said


def _moment(text: str) -> str:
    """A time as people write it, where it is one of ours."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d\S*Z", text)
    return f"{found[1]} at {found[2]} UTC" if found else text


def _machine(result: Result) -> str:
    """The GPUs that a cell owns, or the CPU, by name."""
    named = [str(gpu.get("name")) for gpu in owned(result.environment.get("gpus") or [])]
    if result.device == "cuda" and named:
        return f"{len(named)} x {named[0]}" if len(named) > 1 else named[0]
    cpu = result.environment.get("cpu") or {}
    return f"{cpu.get('cores')} cores of {cpu.get('model')}" if cpu else result.device
