"""Turn a workload's description into requests: token ids and lengths, from the seed alone.

Only `random.Random.random()` is used: its sequence for a seed is promised to stay the same in
all Python versions, which no other generator promises.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
from msgspec import Struct, field

from traces import workload as kinds
from traces.errors import Problem
from traces.job import Prompt, Workload
from workers.ids import sha256

Encode = Callable[[str], list[int]]


def build(
    name: str, spec: kinds.AnySpec, seed: int, vocab: int, max_length: int, encode: Encode | None
) -> Workload:
    """Return the requests. `encode` is the model's tokenizer, None where it has none.

    Raises Problem for texts without a tokenizer, files that cannot be read, and requests longer
    than `max_length`; conversations of a ShareGPT file that are longer are passed over.
    """
    draw = _Draw(seed, vocab, max_length)
    if isinstance(spec, kinds.Prompts | kinds.Jsonl | kinds.ShareGpt):
        if encode is None:
            raise Problem(
                f"workload {name!r} has texts, and this model has no tokenizer: "
                "use a workload of lengths (mixed, uniform, long-tail, shared-prefix)"
            )
        if isinstance(spec, kinds.ShareGpt):
            made: Iterable[Prompt] = _sharegpt(spec, encode, max_length)
        else:
            made = _texts(spec, encode)
    else:
        made = draw.lengths(spec)
    requests = []
    for prompt in made:
        if prompt.total > max_length:
            raise Problem(
                f"workload {name!r}: request {prompt.id} needs {prompt.total} tokens, "
                f"max_length is {max_length}: raise max_length or shorten the request"
            )
        requests.append(prompt)
    return Workload(name=name, sha256=fingerprint(requests), requests=requests)


def fingerprint(requests: list[Prompt]) -> str:
    """Hash ids and lengths: two workloads with the same hash ask the same of an engine."""
    flat: list[int] = []
    for prompt in requests:
        flat += [len(prompt.prompt_ids), prompt.output_tokens, *prompt.prompt_ids]
    return sha256(flat)


def _texts(spec: kinds.AnySpec, encode: Encode) -> Iterator[Prompt]:
    for number, (text, output) in enumerate(_read(spec)):
        ids = encode(text)
        if not ids:
            raise Problem(f"prompt {number + 1} is empty: give it at least one token")
        yield Prompt(id=f"{number:04d}", prompt_ids=ids, output_tokens=output, text=text)


def _read(spec: kinds.AnySpec) -> Iterator[tuple[str, int]]:
    if isinstance(spec, kinds.Prompts):
        for text in spec.prompts:
            yield text, spec.output_tokens
    elif isinstance(spec, kinds.Jsonl):
        yield from _jsonl(spec)


def _jsonl(spec: kinds.Jsonl) -> Iterator[tuple[str, int]]:
    lines = [pair for pair in enumerate(_file(spec.path).split("\n"), 1) if pair[1].strip()]
    if len(lines) < (spec.requests or 1):
        raise Problem(f"{spec.path}: {len(lines)} prompts, {spec.requests or 1} asked for")
    for number, line in lines[: spec.requests]:
        try:
            item = msgspec.json.decode(line, type=_JsonlLine)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Problem(
                f'{spec.path}: line {number} is not {{"prompt": text, "output_tokens": n}}: {error}'
            ) from None
        yield item.prompt, item.output_tokens or spec.output_tokens


def _sharegpt(spec: kinds.ShareGpt, encode: Encode, max_length: int) -> list[Prompt]:
    """Return the first conversations that have a question, and room for it and its answer."""
    try:
        talks = msgspec.json.decode(_file(spec.path), type=list[_Talk])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(f"{spec.path}: not a ShareGPT file ({error})") from None
    turns = [talk.conversations for talk in talks if len(talk.conversations) >= 2]
    found: list[Prompt] = []
    for question, answer in ((first, second) for first, second, *_ in turns if first.asked):
        ids, output = encode(question.value), max(1, len(encode(answer.value)))
        if ids and len(ids) + output <= max_length:
            id_, text = f"{len(found):04d}", question.value
            found.append(Prompt(id=id_, prompt_ids=ids, output_tokens=output, text=text))
        if len(found) == spec.requests:
            return found
    raise Problem(
        f"{spec.path}: {len(found)} conversations of at most {max_length} tokens, "
        f"{spec.requests} asked for"
    )


def _file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: cannot be read ({error})") from None


class _JsonlLine(Struct):
    """One line of the user's own file."""

    prompt: str
    output_tokens: kinds.Count | None = None


class _Turn(Struct):
    """Who said what."""

    value: str
    speaker: str = field(default="human", name="from")

    @property
    def asked(self) -> bool:
        return self.speaker in ("human", "user")


class _Talk(Struct):
    conversations: list[_Turn] = []


class _Draw:
    """Draws lengths and ids from the seed; one generator each, so that neither moves the other."""

    def __init__(self, seed: int, vocab: int, max_length: int) -> None:
        self._lengths = random.Random(seed)
        self._ids = random.Random(seed + 1)
        self._vocab = vocab
        self._max = max_length

    def lengths(self, spec: Any) -> Iterator[Prompt]:
        """Make requests of drawn lengths; those of `mixed` are capped to fit max_length."""
        prefix = self.ids(spec.prefix) if isinstance(spec, kinds.SharedPrefix) else []
        for number in range(spec.requests):
            prompt, output = self._pair(spec)
            if isinstance(spec, kinds.Mixed):  # its tail has no end
                prompt = min(prompt, self._max - 1)
                output = min(output, self._max - prompt)
            ids = prefix + self.ids(prompt)
            yield Prompt(id=f"{number:04d}", prompt_ids=ids, output_tokens=output)

    def ids(self, count: int) -> list[int]:
        """Return made-up token ids; the first few of a vocabulary are often special."""
        low = min(16, self._vocab - 1)
        return [low + int(self._ids.random() * (self._vocab - low)) for _ in range(count)]

    def _pair(self, spec: Any) -> tuple[int, int]:
        if isinstance(spec, kinds.Mixed):
            return (
                self._lognormal(spec.prompt_mean, spec.sigma, spec.max_prompt),
                self._lognormal(spec.output_mean, spec.sigma, spec.max_output),
            )
        if isinstance(spec, kinds.LongTail):
            if self._lengths.random() < spec.long_share:
                return spec.long_prompt, spec.long_output
            return spec.short_prompt, spec.short_output
        return self._between(*spec.prompt), self._between(*spec.output)

    def _between(self, low: int, high: int) -> int:
        return low + int(self._lengths.random() * (high - low + 1))

    def _lognormal(self, mean: float, sigma: float, most: int | None) -> int:
        """Draw with the given mean: exp(mu + sigma^2/2) = mean."""
        u = min(max(self._lengths.random(), 1e-12), 1 - 1e-12)
        mu = math.log(mean) - sigma * sigma / 2
        length = round(math.exp(mu + sigma * NormalDist().inv_cdf(u)))
        return max(1, min(length, most or self._max))
