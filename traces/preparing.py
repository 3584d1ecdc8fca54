"""What prepare is asked to make ready, and what it made: a model's folder and the token ids."""

from typing import Literal

from msgspec import Struct

from traces import kv
from traces.messages import Message
from traces.workload import AnySpec


class Source(Struct, kw_only=True, frozen=True):
    """Where a model comes from; `path` is a GGUF file, a config.json, a folder, or empty (Hub)."""

    kind: Literal["bundled", "hub", "folder", "shape"]
    name: str
    path: str = ""


class Preparation(Struct, kw_only=True, frozen=True):
    """The model, the workload to draw for it, where to keep the model and write the requests.

    `max_length` bounds a request in tokens; None: by the model, and at most 2048.
    """

    source: Source
    cache: str
    name: str
    spec: AnySpec
    seed: int
    max_length: int | None
    out: str
    trust_remote_code: bool = False


class Shape(Struct, kw_only=True, frozen=True):
    """A model's sizes, from its configuration; lengths are in tokens.

    `max_position` is None where positions have no end. Transformers keeps more heads of keys and
    values than the model has where it broadcasts them.
    """

    architecture: str
    layers: int
    kv_heads: int
    transformers_kv_heads: int
    head_dim: int
    vocab_size: int
    max_position: int | None

    def bytes_per_token(self, dtype: str, transformers: bool = False) -> int:
        """Return KV bytes of one token over all layers."""
        heads = self.transformers_kv_heads if transformers else self.kv_heads
        return kv.bytes_per_token(self.layers, heads, self.head_dim, dtype)


class Requests(Struct, kw_only=True, frozen=True):
    """The requests drawn: how many, and their tokens. `max_total` is of the longest one."""

    name: str
    sha256: str
    requests: int
    prompt_tokens: int
    output_tokens: int
    max_total: int


class Note(Message, frozen=True):
    """What a user should know of how it went."""

    text: str


class Prepared(Message, frozen=True):
    """All is ready. `max_length` is the longest sequence to be ready for, in tokens."""

    folder: str
    model: Shape
    max_length: int
    random_weights: bool
    weights_sha256: str | None
    workload: Requests
