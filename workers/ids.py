"""Hash token ids the same way everywhere: little-endian int32, SHA-256."""

import hashlib
import sys
from array import array
from collections.abc import Iterable


def sha256(ids: Iterable[int]) -> str:
    """Return the hex digest over token ids."""
    packed = array("i", ids)
    if sys.byteorder == "big":
        packed.byteswap()
    return hashlib.sha256(packed.tobytes()).hexdigest()
