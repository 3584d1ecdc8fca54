"""A diff as data: the types of `outcome`, as they are, with a schema number."""

import msgspec

from compare.diff.outcome import Diff


def render(diff: Diff) -> str:
    """Canonical JSON: the fields in the order of the types, two spaces, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(diff), indent=2).decode() + "\n"
