"""Turn a workload's description into requests: token ids and lengths, from the seed alone.

Only `random.Random.random()` is used: its sequence for a seed is promised to stay the same in
all Python versions, which no other generator promises.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator
from statistics import NormalDist
from typing import Any

from traces import workload as kinds
from traces.errors import Problem
from traces.job import Prompt, Workload
from workers import texts
from workers.ids import sha256
from workers.tokenizer import Encode


def build(
    name: str, spec: kinds.AnySpec, seed: int, vocab: int, max_length: int, encode: Encode | None,
    positions: int | None = None, tell: Callable[[str], None] = lambda line: None,
) -> Workload:  # fmt: skip
    """Return the requests. `encode` is the model's tokenizer, None where it has none.

    `positions` is the most that max_length could be for this model; `tell` hears what else there is
    to say.

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
            made: Iterable[Prompt] = texts.sharegpt(spec, encode, max_length, tell)
        else:
            made = _texts(spec, encode)
    else:
        made = draw.lengths(spec)
    requests = []
    for prompt in made:
        if prompt.total > max_length:
            raise Problem(
                f"workload {name!r}: request {prompt.id} needs {prompt.total} tokens, "
                f"max_length is {max_length}: {_remedy(prompt.total, positions)}"
            )
        if (highest := max(prompt.prompt_ids, default=0)) >= vocab:
            raise Problem(
                f"workload {name!r}: request {prompt.id} has token {highest}, and the model has "
                f"{vocab} embeddings: its tokenizer is of another model"
            )
        requests.append(prompt)
    return Workload(name=name, sha256=fingerprint(requests), requests=requests)


def _remedy(needed: int, positions: int | None) -> str:
    if positions and needed > positions:
        return f"the model has {positions} positions: shorten the request or use another model"
    return "raise max_length or shorten the request"


def fingerprint(requests: list[Prompt]) -> str:
    """Hash ids and lengths: two workloads with the same hash ask the same of an engine."""
    flat: list[int] = []
    for prompt in requests:
        flat += [len(prompt.prompt_ids), prompt.output_tokens, *prompt.prompt_ids]
    return sha256(flat)


def _texts(spec: kinds.Prompts | kinds.Jsonl, encode: Encode) -> Iterator[Prompt]:
    for number, (text, output) in enumerate(_read(spec, encode)):
        ids = encode(text, True)
        if not ids:
            where = f"{spec.path}: " if isinstance(spec, kinds.Jsonl) else ""
            raise Problem(f"{where}prompt {number + 1} is empty: give it at least one token")
        yield Prompt(id=f"{number:04d}", prompt_ids=ids, output_tokens=output, text=text)


def _read(spec: kinds.Prompts | kinds.Jsonl, encode: Encode) -> Iterator[tuple[str, int]]:
    if isinstance(spec, kinds.Jsonl):
        return texts.jsonl(spec, encode)
    return ((text, spec.output_tokens) for text in spec.prompts)


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
