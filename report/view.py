"""What the page's template shows of a result: sentences, tables and checks, as plain text.

Nothing here is markup: the template escapes all of it.
"""

import shlex
from typing import Any

from report import compare, metrics, summary, words
from report.result import Result
from report.table import ROWS


def of(result: Result, name: str) -> dict[str, Any]:
    """What the template shows of one result; `name` tells two results apart."""
    found = summary.columns(result)
    rows = [
        (title, [write(column.values.get(value)) for column in found])
        for title, value, write in ROWS
        if value and any(column.values.get(value) is not None for column in found)
    ]
    on_device = summary.memory_kind(result) == "device"
    return {
        "name": name,
        "facts": [{"big": _big(fact), "text": fact.text} for fact in compare.headline(result)],
        "sentences": words.sentences(result, found),
        "memory": "memory is the GPU's" if on_device else "memory is the processes' (PSS)",
        "columns": [_column(column) for column in found],
        "rows": rows,
        "checks": _checks(found),
        "command": _command(result),
        "environment": words.flat(result.environment),
        "suite": "\n".join(f"{name} = {value}" for name, value in words.flat(result.suite)),
    }


def _big(fact: compare.Fact) -> str:
    """A fact in one number."""
    if fact.ratio and fact.ratio != 1:
        return words.ratio(fact.ratio if fact.ratio > 1 else 1 / fact.ratio) + (
            "" if fact.ratio > 1 else " less"
        )
    return metrics.show(fact.value, fact.unit)


def _column(column: summary.Column) -> dict[str, Any]:
    return {
        "label": column.label,
        "ok": column.ok,
        "repeats": column.repeats,
        "said_status": words.status(column),
        "notes": words.notes(column),
        "log": "\n".join(column.log_tail) if column.ok < column.repeats else "",
    }


def _checks(found: list[summary.Column]) -> list[tuple[str, list[dict[str, str] | None]]]:
    """A row for each check, a cell for each backend; parity is one of them."""
    made: dict[str, list[dict[str, str] | None]] = {}
    for place, column in enumerate(found):
        for check in column.first.validity:
            row = made.setdefault(check.name, [None] * len(found))
            both = f"{words.number(check.ours)} / {words.number(check.theirs)}"
            row[place] = {"verdict": check.verdict, "said": f"{both} {check.note}"}
        if column.parity:
            row = made.setdefault(f"same tokens as {column.parity.reference}", [None] * len(found))
            said = [words.parity(column.parity).removeprefix(f"{column.parity.verdict}: ")]
            said.append(column.parity.method)
            said += [words.divergence(column.parity), column.parity.note]
            text = "; ".join(part for part in said if part)
            row[place] = {"verdict": column.parity.verdict, "said": text}
    return list(made.items())


def _command(result: Result) -> str:
    """The command that makes this run again: as it was recorded, or from its suite."""
    recorded = result.volatile.get("command")
    if recorded:
        return shlex.join(map(str, recorded)) if isinstance(recorded, list) else str(recorded)
    suite = result.suite
    parts = ["pagedbench", "run", "--suite", suite.get("name", ""), "--model", result.model.name]
    parts += ["--dtype", result.dtype, "--device", result.device]
    parts += ["--repeats", suite.get("repeats") or 1]
    for label in dict.fromkeys(cell.label for cell in result.cells):
        parts += ["--backend", label]
    return shlex.join(map(str, parts))


def about(result: Result) -> str:
    """What ran, where and when, in a line."""
    load = result.workload
    said = (
        f"{load.requests} requests with {load.prompt_tokens:,} prompt tokens, "
        f"{load.output_tokens:,} output tokens asked for, on {_machine(result)}."
    )
    begun = result.volatile.get("begun")
    said += f" Begun {words.short(begun)}." if begun else ""
    return said if result.complete else f"{said} This run was not completed."


def _machine(result: Result) -> str:
    """The GPUs, or the CPU, by name."""
    named = [str(gpu.get("name")) for gpu in result.environment.get("gpus") or []]
    if result.device == "cuda" and named:
        return f"{len(named)} x {named[0]}" if len(named) > 1 else named[0]
    cpu = result.environment.get("cpu") or {}
    return f"{cpu.get('cores')} cores of {cpu.get('model')}" if cpu else result.device
