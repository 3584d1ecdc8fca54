"""Files as people have them, each of a kind that made another program wrong or fail."""

import json

import pytest

from orchestrator import models
from tests.orchestrator.test_workloads import build, words
from traces import workload as kinds
from traces.errors import Problem
from workers import sizes, workloads
from workers.prepare import describe

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
    "hidden_size": 2880, "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 100,
    "max_position_embeddings": 512,
}  # fmt: skip


def talks(tmp_path, *rows, requests=1, told=None):
    path = tmp_path / "talks.json"
    path.write_text(json.dumps(rows))
    spec = kinds.ShareGpt(path=str(path), requests=requests)
    said: list[str] = [] if told is None else told
    made = workloads.build("w", spec, 0, 100, 512, words, 512, said.append)
    return [(len(p.prompt_ids), p.output_tokens) for p in made.requests]


def talk(*turns, **more):
    return {"conversations": [{"from": who, "value": text} for who, text in turns], **more}


def test_a_role_that_nobody_knows_is_passed_over_and_counted(tmp_path):
    """A converter went on after `broken_data` and broke off with KeyError: 'user'."""
    said: list[str] = []
    rows = [talk(("observation", "a"), ("gpt", "b")), talk(("user", "a b"), ("gpt", "c d e"))]
    assert talks(tmp_path, *rows, told=said) == [(2, 3)]
    assert said[0].endswith("passed over: 1 without a question and its answer")


def test_a_system_text_of_the_row_is_no_turn(tmp_path):
    """A reader guarded on `system` and read `system_prompt`: KeyError for every such row."""
    assert talks(tmp_path, talk(("human", "a b"), ("gpt", "c"), system="be brief")) == [(2, 1)]


def test_a_turn_that_is_no_object_costs_its_row_only(tmp_path):
    """`.get()` on every entry ended the whole conversion."""
    said: list[str] = []
    broken = {"conversations": ["hello", {"from": "gpt", "value": "b"}]}
    assert talks(tmp_path, broken, talk(("human", "a"), ("gpt", "b c")), told=said) == [(1, 2)]
    assert "1 that cannot be read (the first that cannot be read is row 1: no list of tu" in said[0]


def test_a_talk_that_ends_with_the_question(tmp_path):
    """A fifth of one collection: not one is an answer of no tokens."""
    said: list[str] = []
    rows = [talk(("human", "a")), talk(("human", "a"), ("gpt", " "))]
    assert talks(tmp_path, *rows, talk(("human", "a"), ("gpt", "b")), told=said) == [(1, 1)]
    assert said[0].endswith("2 without a question and its answer")


def test_every_turn_keeps_its_role(tmp_path):
    """The first two were taken for question and answer whoever spoke them."""
    swapped = talk(("gpt", "welcome to this"), ("human", "a"), ("gpt", "b"))
    with pytest.raises(Problem, match="1 without a question and its answer"):
        talks(tmp_path, swapped)


@pytest.mark.parametrize(
    ("changes", "head_dim"),
    [
        ({"head_dim": 64}, 64),  # 2880 over 64 heads would be 45: 30 % too little
        ({"head_dim": 64, "hidden_size": 4096, "num_attention_heads": 32}, 64),
        ({"head_dim": None}, 45),  # older files set it to null
        ({"hidden_size_per_head": 128}, 128),
    ],
)
def test_a_head_is_as_wide_as_the_file_says(tmp_path, changes, head_dim):
    """Many calculators divide the hidden size by the heads; bytes are then wrong, in silence."""
    found = sizes.shape({**LLAMA, **changes}, "LlamaForCausalLM")
    assert found.head_dim == head_dim
    assert found.bytes_per_token("bfloat16", False) == 2 * 2 * 8 * head_dim * 2


@pytest.mark.parametrize("key", ["num_attention_heads", "hidden_size", "num_hidden_layers"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8", []])
def test_a_size_that_is_none(tmp_path, key, value):
    """Zero heads divided by zero; also where the width of a head is given, and hides it."""
    with pytest.raises(Problem, match=f"{key} .*: a whole number above zero is needed"):
        describe({**LLAMA, "head_dim": 64, key: value}, tmp_path / "config.json")


def test_no_shape_of_ours_divides_where_the_file_says(tmp_path):
    for path in models.SHAPES.glob("*.json"):
        config = json.loads(path.read_bytes())
        if "head_dim" in config:
            assert sizes.shape(config, "x").head_dim == config["head_dim"]


@pytest.mark.parametrize("name", ["max_completion_tokens", "n_predict", "max_new_tokens"])
def test_a_batch_file_of_a_server(tmp_path, name):
    """Lengths under the names of other programs were not seen: a default was generated."""
    path = tmp_path / "batch.jsonl"
    body = {"messages": [{"role": "user", "content": "a b c"}], name: 7}
    path.write_text(json.dumps({"custom_id": "1", "body": body}) + "\n")
    made = build(kinds.Jsonl(path=str(path)), encode=words)
    assert [(len(p.prompt_ids), p.output_tokens) for p in made.requests] == [(3, 7)]
