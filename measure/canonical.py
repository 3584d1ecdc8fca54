"""result.json as bytes, and back: the same result always gives the same bytes.

Sections stand in the order of the types, keys inside free-form sections are sorted, measured
numbers are rounded to six digits, and `volatile` comes last, so that a plain diff of two results
reads well. Reading distrusts its input: whatever is wrong with it is one line.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from measure.result import SCHEMA_VERSION, Result
from traces.errors import Problem
from traces.records import FreeForm
from traces.upgrade import one_group, taken

MAX_BYTES = 256 << 20
DIGITS = 6
WHOLE = 1 << 53  # beyond it a double does not hold every whole number
DEVICE_BYTES = ("device_end", "device_peak", "device_after")
EXACT = ("suite", "options", "environment", "volatile")  # settings and notes: not rounded
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class _Version(msgspec.Struct):
    schema: int


class _Entry(msgspec.Struct):
    """A backend of the suite."""

    label: str | None = None
    name: str | None = None


class _Suite(msgspec.Struct):
    backend: list[_Entry] | None = None


class _Environment(msgspec.Struct):
    cpu: FreeForm | None = None
    gpus: list[FreeForm] | None = None


class _Known(msgspec.Struct):
    """What is read of the free-form sections, and must have its type too."""

    suite: _Suite
    environment: _Environment


def dumps(found: Result) -> bytes:
    """Encode canonically: UTF-8, two spaces, a newline at the end."""
    plain = {name: _plain(getattr(found, name), name in EXACT) for name in found.__struct_fields__}
    return orjson.dumps(plain, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def loads(source: bytes | Path) -> Result:
    """Decode a result. Raises Problem, one line, for anything that is not one of ours."""
    data, name = (source, "result") if isinstance(source, bytes) else (_read(source), str(source))
    try:
        version = msgspec.json.decode(data, type=_Version).schema
        if version > SCHEMA_VERSION:
            raise Problem(
                f"{name}: result schema {version}, this pagedbench knows up to {SCHEMA_VERSION}: "
                "upgrade it"
            )
        if version < 1:
            raise Problem(f"{name}: result schema {version} has never existed")
        _refuse_duplicates(data, name)
        msgspec.json.decode(data, type=_Known)
        if version == SCHEMA_VERSION:
            return msgspec.json.decode(data, type=Result)
        return msgspec.convert(_upgraded(msgspec.json.decode(data), version), Result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise Problem(f"{name}: not a pagedbench result ({reason})") from None


def _upgraded(plain: Any, version: int) -> Any:
    """An older result in today's form, one version at a time; what is missing becomes null."""
    for old in range(version, SCHEMA_VERSION):
        UPGRADES[old](plain)
        plain["schema"] = old + 1
    return plain


def _parts(plain: FreeForm, name: str) -> Iterator[tuple[FreeForm, FreeForm]]:
    """Yield each cell that has this part, with it; the types refuse anything odd later."""
    cells = plain.get("cells")
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, dict) and isinstance(part := cell.get(name), dict):
            yield cell, part


def _from_1(plain: FreeForm) -> None:
    """1 had no step efficiency."""
    for _, kv in _parts(plain, "kv"):
        kv["step_efficiency"] = None


def _from_2(plain: FreeForm) -> None:
    """2 counted tokens as stored when they were scheduled, which some engines do ahead; and device
    bytes of phases with what was there before the cell, which the ledger knows."""
    for cell, ledger in _parts(plain, "ledger"):
        baseline, phases = ledger.get("baseline"), cell.get("phases")
        for part in [cell, *(phases if isinstance(phases, list) else [])]:
            for name in DEVICE_BYTES if isinstance(part, dict) else ():
                if isinstance(baseline, int) and isinstance(part.get(name), int):
                    part[name] -= baseline
    for cell, kv in _parts(plain, "kv"):
        engine = cell.get("engine")
        settings = engine.get("settings") if isinstance(engine, dict) else None
        ahead = isinstance(settings, dict) and settings.get("async_scheduling")
        kv["counted"] = "scheduled" if ahead else "executing"


def _from_3(plain: FreeForm) -> None:
    """3 had the sizes of the layout among the engine's facts: of one group, on one rank."""
    for cell, engine in _parts(plain, "engine"):
        if sizes := taken(engine):
            cell["layout"] = msgspec.to_builtins(one_group(sizes))


# What turns a result of each older version into the next one.
UPGRADES: Mapping[int, Callable[[FreeForm], None]] = {1: _from_1, 2: _from_2, 3: _from_3}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Problem(f"{path}: larger than {MAX_BYTES >> 20} MiB: not a pagedbench result")
        return path.read_bytes()
    except OSError as error:
        raise Problem(f"{path}: {error.strerror or error}") from None


def _plain(value: Any, exact: bool) -> Any:
    """Builtins with stable order and rounding; a number that is none becomes null."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return value if exact else _rounded(value)
    if isinstance(value, msgspec.Struct):
        return {
            name: _plain(part, exact or name in EXACT)
            for name in value.__struct_fields__
            if (part := getattr(value, name)) is not msgspec.UNSET
        }
    if isinstance(value, dict):
        return {str(key): _plain(value[key], exact) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, exact) for item in value]
    return value


def _rounded(value: float) -> float:
    """Six digits; a whole number as one, whether it was counted or measured."""
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < WHOLE else short


def _refuse_duplicates(data: bytes, name: str) -> None:
    """A key given twice would let two readers see two results.

    Outside of strings every colon follows a key, so they must be as many as the keys that were
    decoded. A regular expression finds that out some ten times faster than a decoder with hooks.
    """
    colons = _STRING.sub(b"", data).count(b":")
    if colons != _keys(msgspec.json.decode(data)):
        raise Problem(f"{name}: not a pagedbench result (a key is given twice)")


def _keys(root: Any) -> int:
    total, waiting = 0, [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            total += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return total
