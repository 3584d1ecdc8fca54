"""Sizes as people write them: "2GiB", "512 MiB", "65536 tokens"."""

import re

from traces.errors import Problem

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def size(text: str, bytes_per_token: int | None = None) -> int:
    """Return bytes: "2GiB", "512 MiB", "1000000"; of KV also "65536 tokens". Raises Problem."""
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    units = _UNITS if bytes_per_token is None else {**_UNITS, "tokens": bytes_per_token}
    if not match or match[2].lower() not in units or float(match[1]) == 0:
        tokens = "" if bytes_per_token is None else ", 65536 tokens"
        raise Problem(f"size {text!r}: write it as 2GiB, 512MiB{tokens} or a number of bytes")
    return int(float(match[1]) * units[match[2].lower()])
