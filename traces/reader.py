"""Read trace files: never lose a good line, count the bad ones, refuse what is not ours.

Where `worker.jsonl` is gone and `worker.jsonl.gz` is there, that is read: whoever keeps a trace may
gzip it.
"""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from traces.errors import Problem
from traces.records import FORMAT_VERSION, AnyRecord, Header
from traces.upgrade import RecordOf1, upgraded

FORMATS = range(1, FORMAT_VERSION + 1)
MAX_LINE = 64 << 20  # a longer line is damage, not data
BREAKS_OFF = (EOFError, gzip.BadGzipFile, zlib.error)


class TraceError(Problem):
    """A file that is no trace of ours, or of a version this code does not know."""


@dataclass(slots=True)
class Damage:
    """What a reader passed over: lines that are no record, and a torn last line.

    Where a gzip breaks off, that is one bad line: no writer of ours leaves one, so it is news.
    """

    bad: int = 0
    torn: bool = False


class _Version(msgspec.Struct):
    v: int
    k: str


def read(path: Path, damage: Damage | None = None) -> Iterator[AnyRecord]:
    """Yield the records of one file, gzipped or not, in order, its header first, in little memory.

    Those of format 1 as of today. Fields that a newer minor writer added are ignored. Raises
    TraceError when the first line is not a header or the version is unknown, OSError when the file
    cannot be read.
    """
    damage = damage if damage is not None else Damage()
    with opened(kept(path)) as stream:
        lines = _lines(stream, damage)
        version, header = _header(path, next(lines, b""))
        yield header
        if version == FORMAT_VERSION:
            yield from _records(lines, AnyRecord, damage)
        else:
            yield from upgraded(_records(lines, RecordOf1, damage), str(path))


def _records(lines: Iterator[bytes], kind: Any, damage: Damage) -> Iterator[Any]:
    decode = msgspec.json.Decoder(kind).decode
    for line in lines:
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            whole = line.endswith(b"\n") or len(line) == MAX_LINE
            damage.bad += whole
            damage.torn |= not whole  # the writer was killed in mid-line
            continue
        yield record


def kept(path: Path) -> Path:
    """Return where a trace is: there, or gzipped beside it."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.exists() else path


def traces_in(folder: Path, stem: str = "*") -> list[Path]:
    """Return the folder's traces that hold anything, by name; `stem` is a pattern."""
    names = {p.name.removesuffix(".gz") for p in folder.glob(f"{stem}.jsonl*")}
    found = [kept(folder / name) for name in sorted(names) if name.endswith(".jsonl")]
    return [path for path in found if _begun(path)]


def _begun(path: Path) -> bool:
    with suppress(*BREAKS_OFF), opened(path) as stream:
        return bool(stream.peek(1))
    return True


def opened(path: Path) -> BufferedReader | gzip.GzipFile:
    """Open a trace, gzipped or not, to read its lines."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _lines(stream: BufferedReader | gzip.GzipFile, damage: Damage) -> Iterator[bytes]:
    """Yield the lines, as far as a gzip can be unpacked."""
    try:
        while line := stream.readline(MAX_LINE):
            yield line
    except BREAKS_OFF:
        damage.bad += 1
        damage.torn = True


def _header(path: Path, line: bytes) -> tuple[int, Header]:
    """The file's format, and its header."""
    try:
        first = msgspec.json.decode(line, type=_Version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TraceError(f"{path}: not a pagedbench trace (no header line)") from None
    if first.v not in FORMATS:
        raise TraceError(
            f"{path}: trace format {first.v}, this pagedbench reads {FORMAT_VERSION} and older: "
            "use the version that wrote it"
        )
    try:
        return first.v, msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TraceError(f"{path}: not a pagedbench trace (first line: {first.k!r})") from None
