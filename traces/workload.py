"""The kinds of workload a suite can ask for. Lengths and ids are a pure function of the seed.

Prompt and output lengths are in tokens. Kinds that give lengths make up token ids; kinds that
give texts need a model with a tokenizer.
"""

from typing import Annotated

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Mean = Annotated[float, Meta(gt=0, le=1_000_000)]


class Spec(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all kinds have."""


class Prompts(Spec, kw_only=True, forbid_unknown_fields=True, tag="prompts"):
    """Texts written in the suite."""

    prompts: Annotated[list[str], Meta(min_length=1)]
    output_tokens: Count


class Mixed(Spec, kw_only=True, forbid_unknown_fields=True, tag="mixed"):
    """Log-normal lengths. The default means are ShareGPT's in the vLLM paper (161 in, 338 out)."""

    requests: Count
    prompt_mean: Mean = 161.0
    output_mean: Mean = 338.0
    sigma: Annotated[float, Meta(gt=0, le=3)] = 1.0
    max_prompt: Count | None = None
    max_output: Count | None = None


class Uniform(Spec, kw_only=True, forbid_unknown_fields=True, tag="uniform"):
    """Lengths drawn evenly between two bounds, both included."""

    requests: Count
    prompt: tuple[Count, Count]
    output: tuple[Count, Count]


class LongTail(Spec, kw_only=True, forbid_unknown_fields=True, tag="long-tail"):
    """Short requests, and a share of long ones: what padding and reservation suffer from."""

    requests: Count
    short_prompt: Count = 32
    short_output: Count = 64
    long_prompt: Count = 512
    long_output: Count = 512
    long_share: Annotated[float, Meta(ge=0, le=1)] = 0.05


class SharedPrefix(Spec, kw_only=True, forbid_unknown_fields=True, tag="shared-prefix"):
    """One system prompt, many users: what prefix caching buys."""

    requests: Count
    prefix: Count = 512
    prompt: tuple[Count, Count] = (16, 64)
    output: tuple[Count, Count] = (32, 128)


class Jsonl(Spec, kw_only=True, forbid_unknown_fields=True, tag="jsonl"):
    """The user's own: one object a line, {"prompt": text, "output_tokens": n?}."""

    path: str
    output_tokens: Count = 64
    requests: Count | None = None


class ShareGpt(Spec, kw_only=True, forbid_unknown_fields=True, tag="sharegpt"):
    """A ShareGPT-format file: first human turn as prompt, the answer's length as output length.

    The first conversations that fit `max_length`; longer and empty ones are passed over.
    """

    path: str
    requests: Count


AnySpec = Prompts | Mixed | Uniform | LongTail | SharedPrefix | Jsonl | ShareGpt
