"""What a finished trace held: its length and checksum, so that bytes changed later are noticed.

A line with a flipped digit is still a line: nothing but the whole file's checksum tells. Of a
gzipped trace it is the content that counts, so gzipping one breaks no seal.
"""

import zlib
from pathlib import Path

from msgspec import Struct

from traces.reader import BREAKS_OFF, opened

CHUNK = 1 << 20


class Seal(Struct, frozen=True):
    """Bytes of a trace, and their CRC-32."""

    size: int
    crc32: int


def seal(path: Path) -> Seal:
    """Return the seal of a trace as it is now, as far as a gzip can be unpacked. Raises OSError."""
    size = crc = 0
    with opened(path) as stream:
        try:
            while chunk := stream.read(CHUNK):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        except BREAKS_OFF:
            return Seal(-1, crc)
    return Seal(size, crc)
