"""Read trace files: never lose a good line, count the bad ones, refuse what is not ours."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from traces.errors import Problem
from traces.records import FORMAT_VERSION, AnyRecord, Header

MAX_LINE = 64 << 20  # a longer line is damage, not data


class TraceError(Problem):
    """A file that is no trace of ours, or of a version this code does not know."""


@dataclass(slots=True)
class Damage:
    """What a reader passed over: lines that are no record, and a torn last line."""

    bad: int = 0
    torn: bool = False


class _Version(msgspec.Struct):
    v: int
    k: str


def read(path: Path, damage: Damage | None = None) -> Iterator[AnyRecord]:
    """Yield the records of one file in order, its header first, with bounded memory.

    Fields that a newer minor writer added are ignored. Raises TraceError when the first line is
    not a header or the version is unknown, OSError when the file cannot be read.
    """
    damage = damage if damage is not None else Damage()
    decode = msgspec.json.Decoder(AnyRecord).decode
    with path.open("rb") as stream:
        yield _header(path, stream.readline(MAX_LINE))
        while line := stream.readline(MAX_LINE):
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                whole = line.endswith(b"\n") or stream.tell() < os.fstat(stream.fileno()).st_size
                damage.bad += whole
                damage.torn |= not whole  # the writer was killed in mid-line
                continue
            yield record


def _header(path: Path, line: bytes) -> Header:
    try:
        first = msgspec.json.decode(line, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TraceError(f"{path}: not a pagedbench trace (no header line)") from None
    if first.v != FORMAT_VERSION:
        raise TraceError(
            f"{path}: trace format {first.v}, this pagedbench reads {FORMAT_VERSION}: "
            "use the version that wrote it"
        )
    try:
        return msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TraceError(f"{path}: not a pagedbench trace (first line: {first.k!r})") from None
