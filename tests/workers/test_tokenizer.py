"""The model's tokenizer: whole texts, and one BOS, whatever its file was saved with."""

import json

import pytest

from tests.orchestrator.test_workloads import build
from traces import workload as kinds
from traces.errors import Problem
from workers import tokenizer

WORDS = {"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4}
START = {"SpecialToken": {"id": "<s>", "type_id": 0}}
BOS = {
    "type": "TemplateProcessing", "single": [START, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [START, {"Sequence": {"id": "A", "type_id": 0}},
             {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
}  # fmt: skip
TRUNCATION = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
PADDING = {
    "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 2,
    "pad_type_id": 0, "pad_token": "</s>",
}  # fmt: skip


def write(folder, **changes):
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    specials = [{"id": WORDS[t], "content": t, "special": True, **added} for t in ("<s>", "</s>")]
    made = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": specials,
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "<unk>"},
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps({**made, **changes}))
    return tokenizer.load(folder)


@pytest.mark.parametrize(
    "changes", [{}, {"truncation": TRUNCATION}, {"padding": PADDING},
                {"truncation": TRUNCATION, "padding": PADDING}],
)  # fmt: skip
def test_texts_are_neither_cut_nor_filled(tmp_path, changes):
    encode = write(tmp_path, **changes)
    assert encode("a b a b", True) == [3, 4, 3, 4]
    assert encode("a", True) == [3]


def test_one_bos(tmp_path):
    encode = write(tmp_path, post_processor=BOS)
    assert encode("a b", True) == [1, 3, 4]
    assert encode("a b", False) == [3, 4]
    assert encode("<s>a b", True) == [1, 3, 4], "the text had it already"
    assert encode("<s>", True) == [1]
    assert encode("", True) == [1]
    assert write(tmp_path)("<s><s>a", True) == [1, 1, 3], "nobody added one"


def test_an_answer_is_counted_without_it(tmp_path):
    talk = [{"from": "human", "value": "a b"}, {"from": "gpt", "value": "a b"}]
    (tmp_path / "talks.json").write_text(json.dumps([{"conversations": talk}]))
    spec = kinds.ShareGpt(path=str(tmp_path / "talks.json"), requests=1)
    (prompt,) = build(spec, encode=write(tmp_path, post_processor=BOS)).requests
    assert (prompt.prompt_ids, prompt.output_tokens) == ([1, 3, 4], 2)


def test_folders_without_one(tmp_path):
    assert tokenizer.load(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{}", "version https://git-lfs.github.com/spec/v1"])
def test_files_that_are_none(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(Problem, match=r"tokenizer\.json: not a tokenizer"):
        tokenizer.load(tmp_path)


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "tokenizer.json").symlink_to("../blobs/0123")
    with pytest.raises(Problem, match=r"tokenizer\.json: not a tokenizer"):
        tokenizer.load(tmp_path)


@pytest.mark.slow
def test_the_files_of_a_slow_one(tmp_path):
    """Two letters and their pair: GPT-2's own form, from before tokenizer.json."""
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    encode = tokenizer.load(tmp_path)
    assert encode is not None
    assert encode("abba", True) == [2, 1, 0]


@pytest.mark.slow
def test_slow_files_that_are_damaged(tmp_path):
    (tmp_path / "vocab.json").write_text("{")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(Problem, match="its tokenizer cannot be loaded"):
        tokenizer.load(tmp_path)
