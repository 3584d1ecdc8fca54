"""What the page's template shows of a result: sentences, tables and checks, as plain text.

Nothing here is markup: the template escapes all of it.
"""

import re
import shlex
from typing import Any

from compare import compare, metrics, stats, summary
from measure.result import Check, Result
from report import words
from report.table import ROWS, Write
from traces.owned import owned

# What a reader could take a fact of the headline for, and should not.
NOT = {
    "kv_efficiency": "This is about the slots that requests hold, not about all memory: how large "
    "an engine's pool is, is a setting.",
    "kv_bytes_per_live_token": "Weights are not in it, nor the part of a pool that no request "
    "holds.",
    "output_tokens_per_s": "Two whole engines are compared: batching, scheduling and kernels "
    "differ, not only how the cache is laid out.",
    "peak_running": "Settings and the time budget bound this too, not only memory.",
}
MEMORY = {
    "device": "Memory is what the GPU reports as used, above what was used before.",
    "host": "Memory is the host's: PSS of the backend's processes, which divides shared pages.",
}


def of(result: Result, name: str) -> dict[str, Any]:
    """What the template shows of one result; `name` tells two results apart."""
    found = summary.columns(result)
    kind = summary.memory_kind(result)
    return {
        "name": name,
        "facts": [
            {"big": _big(fact), "text": fact.text, "not": NOT.get(fact.name, "")}
            for fact in compare.headline(result)
        ],
        "used": [
            (column.label, words.used(column, kind, _speed(result, column))) for column in found
        ],
        "external": words.external(found),
        "sentences": [*words.sentences(result, found), *filter(None, [words.once(found)])],
        "memory": MEMORY[kind],
        "columns": [_column(column) for column in found],
        "rows": _rows(found),
        "checks": _checks(found),
        "command": _command(result),
        "environment": words.flat(result.environment),
        "suite": "\n".join(f"{name} = {value}" for name, value in words.flat(result.suite)),
    }


def _rows(found: list[summary.Column]) -> list[dict[str, Any]]:
    """The comparison's rows; the first of a group is marked, to be set off from the one before."""
    kinds = [words.KIND.get(column.layout or "", words.DASH) for column in found]
    rows: list[dict[str, Any]] = [{"title": "KV cache", "cells": kinds, "first": False}]
    first = True
    for title, value, write in ROWS:
        if not value:
            first = True
        elif any(column.values.get(value) is not None for column in found):
            cells = [write(column.values.get(value)) for column in found]
            rows.append({"title": title, "cells": cells, "first": first})
            first = False
    return rows


def _speed(result: Result, column: summary.Column) -> stats.Summary | None:
    """The throughput over the repeats, with its interval where there are several."""
    cells = [cell for cell in result.cells if cell.label == column.label and cell.status == "ok"]
    values = metrics.values(metrics.get("output_tokens_per_s"), cells)
    return stats.summarize(values) if values else None


def changes(base: Result, head: Result) -> dict[str, Any]:
    """What differs between two runs: for each backend of both, every number and its change."""
    before, after = ({c.label: c for c in summary.columns(run)} for run in (base, head))
    both = [label for label in before if label in after]
    rows = []
    for title, value, write in ROWS:
        cells = [
            _change(before[label].values.get(value), after[label].values.get(value), write)
            for label in both
        ]
        if value and any(cell["said"] != words.DASH for cell in cells):
            rows.append({"title": title, "cells": cells})
    only = [label for label in (*before, *after) if (label in before) != (label in after)]
    return {"labels": both, "rows": rows, "only": only}


def _change(base: float | None, head: float | None, write: Write) -> dict[str, str]:
    """Both values, or one where they are written alike, and the change of the exact numbers."""
    old, new = write(base), write(head)
    if base is None or head is None:
        return {"said": old if old == new else f"{old} \u2192 {new}", "change": ""}
    share = ""
    if base and head != base:
        ratio = head / base
        share = f"{ratio - 1:+.1%}" if 0.5 <= ratio < 2 else words.ratio(ratio)
    return {"said": old if old == new else f"{old} \u2192 {new}", "change": share}


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
            row[place] = {"verdict": check.verdict, "said": _both(check), "note": check.note}
        if column.parity:
            row = made.setdefault(f"same tokens as {column.parity.reference}", [None] * len(found))
            said = [words.parity(column.parity).removeprefix(f"{column.parity.verdict}: ")]
            said.append(column.parity.method)
            said += [words.divergence(column.parity), column.parity.note]
            text = "; ".join(part for part in said if part)
            row[place] = {"verdict": column.parity.verdict, "said": text, "note": ""}
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
    for label in dict.fromkeys(cell.label for cell in result.cells):
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
    said += f" Begun {_moment(words.short(begun))}." if begun else ""
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
