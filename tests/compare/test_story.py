"""docs/over-time.md, followed to the letter in a toy repository."""

import json
import re

from tests.compare.toy import ROOT

PAGE = ROOT / "docs" / "over-time.md"
PART = re.compile(r"<!-- engines: (?P<engines>.*?) -->|```console\n(?P<console>.*?)```", re.DOTALL)
EXITS = re.compile(r"  # exits with (\d+)$")


def plain(text):
    """A line without what differs from run to run: numbers, hashes, names of folders, spaces."""
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{7}-(\w+)(\.\d+)?", r"#-\1", text)
    text = re.sub(r"\b[0-9a-f]{10}\b", "#", text)
    text = re.sub(r"[+-]?\d[\d,.]*", "#", text)
    return " ".join(text.split())


def commands(console):
    """Each command with its exit code and the lines expected of it."""
    for part in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        line, *expected = part.splitlines()
        code = EXITS.search(line)
        yield EXITS.sub("", line), int(code[1]) if code else 0, [e for e in expected if e.strip()]


def seen(expected, printed):
    """Say whether the expected lines come in this order; `...` stands for anything."""
    rest = iter(printed)
    for line in expected:
        pattern = re.escape(plain(line)).replace(r"\.\.\.", ".*")
        if not any(re.fullmatch(pattern, plain(other)) for other in rest):
            return line
    return None


def test_the_page_is_true(toy):
    done = 0
    for part in PART.finditer(PAGE.read_text()):
        if part["engines"]:
            toy.engine(**json.loads(part["engines"]))
            continue
        for command, code, expected in commands(part["console"]):
            ran = toy.shell(f"{command} 2>&1")
            assert ran.code == code, f"{command}\n{ran.out}"
            missing = seen([e for e in expected if e != "..."], ran.out.splitlines())
            assert missing is None, f"{command}: no such line: {missing}\n{ran.out}"
            done += 1
    assert done >= 8


def test_a_page_that_lies_is_noticed():
    assert seen(["a 12 %", "b"], ["a 7 %", "b"]) is None
    assert seen(["b", "a"], ["a", "b"]) == "a"
    assert seen(["vllm ... REGRESSED"], ["vllm speed unchanged"]) is not None
