"""The model's own tokenizer, as every engine uses it: no truncation, no padding, one BOS.

A tokenizer.json carries settings of whoever saved it last, and the library applies them to every
text. Folders of older models have the files of a slow tokenizer in its place.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from traces.errors import Problem

Encode = Callable[[str, bool], list[int]]
"""Token ids of a text; True: with the special tokens that a prompt begins with."""

FILE = "tokenizer.json"
SLOW = (
    "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "tiktoken.model",
)  # fmt: skip


def load(folder: Path, trust_remote_code: bool = False) -> Encode | None:
    """Return the tokenizer of a model folder, None where it has none. Raises Problem."""
    path = folder / FILE
    if path.exists() or path.is_symlink():
        return _fast(path)
    if any((folder / name).exists() for name in SLOW):
        return _slow(folder, trust_remote_code)
    return None


def _fast(path: Path) -> Encode:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise Problem(f"{path}: not a tokenizer ({_first(error)})") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _once(lambda text, special: tokenizer.encode(text, add_special_tokens=special).ids)


def _slow(folder: Path, trust_remote_code: bool) -> Encode:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=trust_remote_code)
    except Exception as error:  # whatever the files, or somebody's own class, lead to
        raise Problem(f"{folder}: its tokenizer cannot be loaded ({_first(error)})") from None

    def encode(text: str, special: bool) -> Any:
        settings = {"add_special_tokens": special, "truncation": False, "padding": False}
        return tokenizer(text, **settings)["input_ids"]

    return _once(encode)


def _once(encode: Callable[[str, bool], Any]) -> Encode:
    """Let a text that begins with the BOS have no second one."""

    def encoded(text: str, special: bool) -> list[int]:
        plain = list(encode(text, False))
        if not special:
            return plain
        whole = list(encode(text, True))
        twice = len(whole) > len(plain) > 0 and whole[0] == whole[1] == plain[0]
        return whole[1:] if twice else whole

    return encoded


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
