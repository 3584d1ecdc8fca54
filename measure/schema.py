"""The JSON Schema of result.json, made from the types.

Run: python -m measure.schema > docs/result.schema.json
"""

import sys

import msgspec

from measure.result import Result
from traces.records import FreeForm


def schema() -> FreeForm:
    """Return the schema (JSON Schema 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pagedbench result",
        **msgspec.json.schema(Result),
    }


def text() -> bytes:
    """The schema as the file in docs/ holds it."""
    return msgspec.json.format(msgspec.json.encode(schema(), order="sorted"), indent=2) + b"\n"


if __name__ == "__main__":
    sys.stdout.buffer.write(text())
