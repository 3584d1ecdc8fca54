"""Requests from files of texts: the user's own lines, and conversations in ShareGPT's format.

The user's own lines are all wanted: one that cannot be used is refused by its number. Of collected
conversations the first that will do are taken; how many were passed over, and why, is told.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import Struct

from traces import workload as kinds
from traces.errors import Problem
from traces.job import Prompt
from workers.tokenizer import Encode

LENGTHS = (
    "output_tokens", "max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens",
    "output_len", "output_length", "completion_tokens", "n_predict",
)  # fmt: skip
"""What programs call the tokens to generate."""

TALKS = ("conversations", "conversation", "messages")
TEXTS = ("prompt", *TALKS)
PASSIVE = (
    "id", "custom_id", "request_id", "question_id", "index", "category", "source", "lang", "model",
)  # fmt: skip
ASKS, ANSWERS = ("human", "user"), ("gpt", "chatgpt", "assistant", "model", "bot", "bing", "bard")


class Turn(Struct, frozen=True):
    """Who said what."""

    speaker: str
    text: str


def jsonl(spec: kinds.Jsonl, encode: Encode) -> Iterator[tuple[str, int]]:
    """Yield the text and output length of each line. Raises Problem, naming the line."""
    lines = [pair for pair in enumerate(_file(spec.path).split("\n"), 1) if pair[1].strip()]
    if len(lines) < (spec.requests or 1):
        raise Problem(f"{spec.path}: {len(lines)} prompts, {spec.requests or 1} asked for")
    for number, line in lines[: spec.requests]:
        try:
            text, output, answer = _line(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise Problem(
                f'{spec.path}: line {number} is not {{"prompt": text, "output_tokens": n}}: {error}'
            ) from None
        yield text, output or len(encode(answer, False)) or spec.output_tokens


def _line(item: Any) -> tuple[str, int | None, str]:
    """Return a line's text, output length, and answer where it has one. Raises ValueError."""
    if not isinstance(item, dict):
        raise ValueError("not an object")
    if isinstance(item.get("body"), dict):  # a request of a batch for an OpenAI server
        item = item["body"]
    names = [name for name in TEXTS if name in item]
    if len(names) != 1:
        raise ValueError("a prompt, or messages, is needed")
    for key in item:
        if key not in (*TEXTS, *LENGTHS, *PASSIVE):
            close = get_close_matches(key, (*TEXTS, *LENGTHS), n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"unknown key {key!r}{hint}")
    output = _length(item)
    if names == ["prompt"]:
        return _text(item["prompt"], "prompt"), output, ""
    turns = _turns(item[names[0]])
    answer = turns.pop().text if turns and turns[-1].speaker in ANSWERS else ""
    return "\n".join(turn.text for turn in turns), output, answer


def _length(item: dict[str, Any]) -> int | None:
    given = {name: item[name] for name in LENGTHS if item.get(name) is not None}
    for name, value in given.items():
        if type(value) is not int or not 1 <= value <= 1_000_000:
            raise ValueError(f"{name} {value!r}: a whole number above zero is needed")
    if len({*given.values()}) > 1:
        raise ValueError(f"{' and '.join(given)} differ: leave one of them out")
    return next(iter(given.values()), None)


def sharegpt(
    spec: kinds.ShareGpt, encode: Encode, max_length: int, tell: Callable[[str], None]
) -> list[Prompt]:
    """Return the first conversations that have a question, and room for it and its answer."""
    rows = _rows(spec.path)
    found: list[Prompt] = []
    passed: Counter[str] = Counter()
    broken = ""
    for number, row in enumerate(rows, 1):
        if len(found) == spec.requests:
            break
        try:
            question, answer = _pair(row)
        except ValueError as error:
            passed["that cannot be read"] += 1
            broken = broken or f" (the first that cannot be read is row {number}: {error})"
            continue
        ids, output = encode(question, True), len(encode(answer, False))
        if not question.strip() or not answer.strip() or not ids or not output:
            passed["without a question and its answer"] += 1
        elif len(ids) + output > max_length:
            passed[f"of more than {max_length} tokens"] += 1
        else:
            id_ = f"{len(found):04d}"
            found.append(Prompt(id=id_, prompt_ids=ids, output_tokens=output, text=question))
    over = "passed over: " + ", ".join(f"{count} {why}" for why, count in passed.items()) + broken
    if len(found) < spec.requests:
        raise Problem(
            f"{spec.path}: {len(found)} conversations of at most {max_length} tokens, "
            f"{spec.requests} asked for{'; ' + over if passed else ''}"
        )
    if passed:
        tell(f"{spec.path}: {over}")
    return found


def _rows(path: str) -> list[Any]:
    try:
        rows = json.loads(_file(path))
    except (ValueError, RecursionError) as error:
        raise Problem(f"{path}: not a ShareGPT file ({error})") from None
    if not isinstance(rows, list):
        raise Problem(f"{path}: not a ShareGPT file (no list of conversations)")
    return rows


def _pair(item: Any) -> tuple[str, str]:
    """Return the first question and its answer, empty where there is none. Raises ValueError."""
    if not isinstance(item, dict):
        raise ValueError("not an object")
    name = next((name for name in TALKS if name in item), None)
    turns = [turn for turn in _turns(item[name] if name else []) if turn.speaker != "system"]
    speakers = [turn.speaker for turn in turns[:2]]
    if len(turns) < 2 or speakers[0] not in ASKS or speakers[1] not in ANSWERS:
        return "", ""
    return turns[0].text, turns[1].text


def _turns(listed: Any) -> list[Turn]:
    """Return who said what, in either of the usual forms. Raises ValueError."""
    if not isinstance(listed, list) or not all(isinstance(turn, dict) for turn in listed):
        raise ValueError("no list of turns")
    return [
        Turn(
            str(turn.get("from", turn.get("role", ""))).lower(),
            _text(turn.get("value", turn.get("content")), "a turn's text"),
        )
        for turn in listed
    ]


def _text(value: Any, what: str) -> str:
    if isinstance(value, list):  # a message in parts
        if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
            raise ValueError(f"{what} has parts that are no text")
        value = "".join(_text(part.get("text"), what) for part in value)
    if not isinstance(value, str):
        raise ValueError(f"{what} is {value!r}, not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start]
        raise ValueError(f"{what} has half a character ({half!r}), no UTF-8") from None
    return value


def _file(path: str) -> str:
    """Return a file's text, without the mark that some editors put first."""
    try:
        return Path(os.path.expanduser(path)).read_text(encoding="utf-8-sig")  # noqa: PTH111
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path}: cannot be read ({error})") from None
