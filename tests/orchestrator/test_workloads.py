"""Workloads: a pure function of the seed, of the shape they promise, and clear about bad files."""

import json
import subprocess
import sys
from contextlib import suppress
from statistics import mean

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.orchestrator.bench import ROOT
from traces import workload as kinds
from traces.errors import Problem
from workers import texts, workloads

VOCAB = 32_000
SPECS: dict[str, kinds.AnySpec] = {
    "mixed": kinds.Mixed(requests=50),
    "uniform": kinds.Uniform(requests=50, prompt=(4, 900), output=(1, 30)),
    "long-tail": kinds.LongTail(requests=50, long_share=0.2),
    "shared-prefix": kinds.SharedPrefix(requests=50),
}
GOLDEN = {
    "mixed": "1b18be76aba1820ee0a15e7515501972152e90cbd6bbb61b34de5f1e86ba2b38",
    "uniform": "b3928d02835560a745233cb8f604cfe65f7bdfe89e4bd8dea97598c02187a3f8",
    "long-tail": "ec420869e90293d2ca1295f8a32b82967f867d5337779d429112da4152e7135d",
    "shared-prefix": "4ead1fb75edc457de3b234190ec260c09f95f5df8cd11b095a841a170a2e0196",
}


def build(spec, seed=0, max_length=2048, vocab=VOCAB, encode=None):
    return workloads.build("w", spec, seed, vocab, max_length, encode)


def words(text, special=True):
    """A tokenizer: a number for each word."""
    return [len(word) for word in text.split()]


@pytest.mark.parametrize("kind", SPECS)
def test_the_same_on_every_machine_and_python(kind):
    assert build(SPECS[kind]).sha256 == GOLDEN[kind]


def test_neither_the_process_nor_its_hash_seed_matters():
    code = (
        "from traces import workload as k; from workers import texts, workloads as w;"
        "print(w.build('w', k.Mixed(requests=50), 0, 32_000, 2048, None).sha256)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": "1234"}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == GOLDEN["mixed"]


@pytest.mark.parametrize("kind", SPECS)
def test_another_seed_is_another_workload_and_the_name_is_none(kind):
    one = build(SPECS[kind])
    assert one == build(SPECS[kind])
    assert one.sha256 != build(SPECS[kind], seed=1).sha256
    assert one.sha256 == workloads.build("other", SPECS[kind], 0, VOCAB, 2048, None).sha256


@pytest.mark.parametrize("kind", SPECS)
def test_lengths_do_not_depend_on_the_vocabulary(kind):
    """Each kind of draw has its own generator, so that models with other vocabularies compare."""
    small, large = (build(SPECS[kind], vocab=vocab).requests for vocab in (1000, 128_000))
    assert [(len(p.prompt_ids), p.output_tokens) for p in small] == [
        (len(p.prompt_ids), p.output_tokens) for p in large
    ]


def test_the_fingerprint_is_over_ids_and_lengths():
    one = build(SPECS["uniform"]).requests
    for change in (
        {"output_tokens": one[0].output_tokens + 1},
        {"prompt_ids": [*one[0].prompt_ids, 20]},
        {"prompt_ids": [one[0].prompt_ids[0] + 1, *one[0].prompt_ids[1:]]},
    ):
        other = [msgspec.structs.replace(one[0], **change), *one[1:]]
        assert workloads.fingerprint(other) != workloads.fingerprint(one)
    renamed = [msgspec.structs.replace(p, id="x", text="y") for p in one]
    assert workloads.fingerprint(renamed) == workloads.fingerprint(one)


def test_mixed_has_the_means_of_the_paper():
    """Of 10,000 log-normal draws with sigma 1 the mean strays by 1.3 % (one standard error)."""
    requests = build(kinds.Mixed(requests=10_000), max_length=1 << 20).requests
    assert mean(len(p.prompt_ids) for p in requests) == pytest.approx(161, rel=0.03)
    assert mean(p.output_tokens for p in requests) == pytest.approx(338, rel=0.03)
    assert min(p.output_tokens for p in requests) >= 1


def test_mixed_obeys_its_limits():
    spec = kinds.Mixed(requests=500, max_prompt=100, max_output=20)
    requests = build(spec).requests
    assert max(len(p.prompt_ids) for p in requests) == 100
    assert max(p.output_tokens for p in requests) == 20


def test_uniform_reaches_both_bounds_evenly():
    requests = build(kinds.Uniform(requests=4000, prompt=(3, 6), output=(7, 7))).requests
    counts = [sum(len(p.prompt_ids) == n for p in requests) for n in range(3, 7)]
    assert sum(counts) == 4000
    assert min(counts) > 880
    assert {p.output_tokens for p in requests} == {7}


def test_long_tail_has_its_share_of_long_ones():
    requests = build(kinds.LongTail(requests=4000)).requests
    kinds_seen = {(len(p.prompt_ids), p.output_tokens) for p in requests}
    assert kinds_seen == {(32, 64), (512, 512)}
    assert mean(p.output_tokens == 512 for p in requests) == pytest.approx(0.05, abs=0.012)


def test_shared_prefix_is_the_same_for_all_and_the_rest_is_not():
    requests = build(SPECS["shared-prefix"]).requests
    prefixes = {tuple(p.prompt_ids[:512]) for p in requests}
    assert len(prefixes) == 1
    tails = {tuple(p.prompt_ids[512:]) for p in requests}
    assert len(tails) == len(requests)
    assert all(16 <= len(tail) <= 64 for tail in tails)
    assert len(set(next(iter(prefixes)))) > 400


specs = st.one_of(
    st.builds(kinds.Mixed, requests=st.integers(1, 20), prompt_mean=st.floats(0.01, 1e6),
              output_mean=st.floats(0.01, 1e6), sigma=st.floats(0.01, 3)),
    st.builds(kinds.Uniform, requests=st.integers(1, 20),
              prompt=st.tuples(st.integers(1, 50), st.integers(50, 10**6)),
              output=st.tuples(st.integers(1, 50), st.integers(50, 10**6))),
    st.builds(kinds.LongTail, requests=st.integers(1, 20), long_prompt=st.integers(1, 10**6),
              long_output=st.integers(1, 10**6), long_share=st.floats(0, 1)),
    st.builds(kinds.SharedPrefix, requests=st.integers(1, 20), prefix=st.integers(1, 60)),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(specs, st.integers(-(2**70), 2**70), st.integers(64, 3000), st.integers(2, 200_000))
def test_every_request_fits_and_asks_for_something_or_all_are_refused(
    spec, seed, max_length, vocab
):
    made = None
    with suppress(Problem):
        made = build(spec, seed, max_length, vocab)
    if made is None:
        assert not isinstance(spec, kinds.Mixed), "its lengths are capped"
        return
    assert len(made.requests) == spec.requests
    assert len({p.id for p in made.requests}) == spec.requests
    for prompt in made.requests:
        assert prompt.prompt_ids or isinstance(spec, kinds.SharedPrefix)
        assert prompt.output_tokens >= 1
        assert prompt.total <= max_length
        assert all(0 <= number < vocab for number in prompt.prompt_ids)


def test_texts_keep_their_order_and_are_tokenized():
    spec = kinds.Prompts(prompts=["How are you", "Thanks"], output_tokens=9)
    requests = build(spec, encode=words).requests
    assert [(p.prompt_ids, p.output_tokens, p.text) for p in requests] == [
        ([3, 3, 3], 9, "How are you"), ([6], 9, "Thanks"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "encode", "says"),
    [
        (kinds.Prompts(prompts=["a"], output_tokens=1), None, "this model has no tokenizer"),
        (kinds.Prompts(prompts=["a", " "], output_tokens=1), words, "prompt 2 is empty"),
        (kinds.Prompts(prompts=["a b"], output_tokens=9), words, "request 0000 needs 11 tokens"),
    ],
)
def test_texts_that_will_not_do(spec, encode, says):
    with pytest.raises(Problem, match=says):
        build(spec, max_length=10, encode=encode)


def test_a_tokenizer_of_another_model():
    spec = kinds.Prompts(prompts=["a bcd"], output_tokens=1)
    assert build(spec, vocab=4, encode=words).requests[0].prompt_ids == [1, 3]
    with pytest.raises(Problem, match="has token 3, and the model has 3 embeddings"):
        build(spec, vocab=3, encode=words)


def test_jsonl(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "a b", "output_tokens": 3, "id": 1}\n\n{"prompt": "c\u2028d"}\n')
    requests = build(kinds.Jsonl(path=str(path), output_tokens=5), encode=words).requests
    assert [(p.text, p.output_tokens) for p in requests] == [("a b", 3), ("c\u2028d", 5)]
    first = build(kinds.Jsonl(path=str(path), requests=1), encode=words).requests
    assert [p.text for p in first] == ["a b"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "0 prompts, 1 asked for"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"prompt": "a"}\nnot json\n', "line 2 is not"),
        (b'\n\n{"prompt": 3}\n', "line 3 is not"),
        (b'{"prompt": null}\n', "line 1 is not"),
        (b'["prompt"]\n', "line 1 is not"),
        (b'{"output_tokens": 3}\n', "line 1 is not"),
        (b'{"prompt": "a", "output_tokens": 0}\n', "line 1 is not"),
        (b'{"prompt": "a", "output_tokens": -3}\n', "line 1 is not"),
        (b'{"prompt": "a", "output_tokens": "many"}\n', "line 1 is not"),
        (b'{"prompt": ' + b"[" * 100_000 + b"\n", "line 1 is not"),
    ],
)
def test_jsonl_errors_name_the_file_and_the_line(tmp_path, content, says):
    path = tmp_path / "prompts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Problem) as problem:
        build(kinds.Jsonl(path=str(path)), encode=words)
    assert says in str(problem.value)
    assert str(path) in str(problem.value)
    assert "\n" not in str(problem.value)


def talk(*turns):
    return {"id": "x", "conversations": [{"from": who, "value": text} for who, text in turns]}


def test_sharegpt_takes_first_questions_and_the_lengths_of_their_answers(tmp_path):
    path = tmp_path / "talks.json"
    talks = [
        talk(("human", "a question"), ("gpt", "an answer of five words"), ("human", "next")),
        talk(("human", "no answer")),
        talk(("gpt", "an answer"), ("human", "without a question")),
        talk(),
        talk(("human", "a question that is long " * 500), ("gpt", "too long")),
        talk(("human", ""), ("gpt", "nothing was asked")),
        talk(("human", "no answer"), ("gpt", "")),
        talk(("user", "b"), ("assistant", "yes")),
    ]
    path.write_text(json.dumps(talks))
    requests = build(kinds.ShareGpt(path=str(path), requests=2), encode=words).requests
    assert [(p.text, p.output_tokens) for p in requests] == [("a question", 5), ("b", 1)]


HI, FINE = {"from": "human", "value": "hi there"}, {"from": "gpt", "value": "fine"}


def from_talks(tmp_path, talks, requests=1, mark="", **settings):
    """The requests and what was told."""
    path = tmp_path / "talks.json"
    told: list[str] = []
    path.write_text(mark + json.dumps(talks), encoding="utf-8")
    spec = kinds.ShareGpt(path=str(path), requests=requests)
    made = workloads.build("w", spec, 0, VOCAB, 100, words, tell=told.append, **settings)
    return [(p.text, p.output_tokens) for p in made.requests], told


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "system", "value": "be brief"}, HI, FINE]},
        {"messages": [{"role": "user", "content": "hi there"},
                      {"role": "assistant", "content": "fine"}]},
        {"messages": [{"role": "system", "content": "be brief"},
                      {"role": "User", "content": [{"type": "text", "text": "hi there"}]},
                      {"role": "assistant", "content": "fine"}]},
        {"conversation": [HI, FINE, HI]},
        {"conversations": [HI, {"from": "chatgpt", "value": "fine"}]},
    ],
)  # fmt: skip
def test_the_usual_forms_of_a_conversation(tmp_path, row):
    assert from_talks(tmp_path, [row]) == ([("hi there", 1)], [])
    assert from_talks(tmp_path, [row], mark="\ufeff") == ([("hi there", 1)], [])


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"conversations": [HI, HI, FINE]}, "1 without a question and its answer"),
        ({"conversations": [FINE, HI, FINE]}, "1 without a question and its answer"),
        ({"conversations": [HI, {"from": "tool", "value": "x"}]}, "1 without a question"),
        ({"conversations": [HI, {"from": "gpt", "value": " "}]}, "1 without a question"),
        ({"id": "x"}, "1 without a question and its answer"),
        ({"conversations": [HI, {"from": "gpt", "value": "word " * 99}]}, "1 of more than 100"),
        ({"conversations": [HI, {"from": "gpt", "value": None}]}, "row 1: a turn's text is None"),
        ({"conversations": [{"from": "human", "value": "\ud83d"}, FINE]}, "row 1: a turn's text"),
        ("text", "row 1: not an object"),
    ],
)
def test_what_is_passed_over_is_counted_and_told(tmp_path, row, why):
    good = {"conversations": [HI, FINE]}
    requests, (told,) = from_talks(tmp_path, [row, good])
    assert requests == [("hi there", 1)]
    assert why in told
    with pytest.raises(Problem) as refused:
        from_talks(tmp_path, [row])
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", texts.LENGTHS)
def test_a_length_by_its_common_names(tmp_path, name):
    assert one_line(tmp_path, {"prompt": "a b", name: 3}) == ("a b", 3)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"messages": [{"role": "user", "content": "a b"}]}, ("a b", 5)),
        ({"messages": [{"role": "system", "content": "c"}, {"role": "user", "content": "a b"}],
          "max_tokens": 7}, ("c\na b", 7)),
        ({"messages": [{"role": "user", "content": "a b"},
                       {"role": "assistant", "content": "an answer here"}]}, ("a b", 3)),
        ({"custom_id": "1", "method": "POST", "url": "/v1",
          "body": {"model": "m", "messages": [{"role": "user", "content": "a"}],
                   "max_completion_tokens": 2}}, ("a", 2)),
        ({"prompt": "a b", "max_tokens": 3, "output_tokens": 3}, ("a b", 3)),
        ({"prompt": "a b", "max_tokens": None}, ("a b", 5)),
    ],
)  # fmt: skip
def test_lines_of_other_programs(tmp_path, item, expected):
    assert one_line(tmp_path, item) == expected


def one_line(tmp_path, item):
    path = tmp_path / "lines.jsonl"
    path.write_text(f"\ufeff{json.dumps(item)}\n", encoding="utf-8")
    (made,) = build(kinds.Jsonl(path=str(path), output_tokens=5), encode=words).requests
    return made.text, made.output_tokens


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"prompt": "a", "max_tokns": 3}, "unknown key 'max_tokns'; did you mean 'max_tokens'?"),
        ({"prompt": "a", "zzz": 3}, "unknown key 'zzz'"),
        ({"promt": "a"}, "a prompt, or messages, is needed"),
        ({"prompt": "a", "messages": []}, "a prompt, or messages, is needed"),
        ({"prompt": "a", "max_tokens": 3, "output_len": 4}, "max_tokens and output_len differ"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens True: a whole number above zero"),
        ({"prompt": "\ud83d"}, "prompt has half a character"),
        ({"messages": [{"role": "user", "content": None}]}, "a turn's text is None"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "parts that are no"),
    ],
)
def test_lines_that_are_refused_by_their_number(tmp_path, item, says):
    with pytest.raises(Problem) as refused:
        one_line(tmp_path, item)
    assert "line 1 is not" in str(refused.value)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not a ShareGPT file"),
        ("{}", "not a ShareGPT file"),
        ("[3]", "passed over: 1 that cannot be read (the first that cannot be read is row 1"),
        ('[{"conversations": [{"from": "human", "value": null}]}]', "row 1: a turn's text is None"),
        ('[{"conversations": "none"}]', "row 1: no list of turns"),
        ("[" * 100_000, "not a ShareGPT file"),
        ("[]", "0 conversations of at most 2048 tokens, 1 asked for"),
    ],
)
def test_sharegpt_errors_are_one_line(tmp_path, content, says):
    path = tmp_path / "talks.json"
    path.write_text(content)
    with pytest.raises(Problem) as problem:
        build(kinds.ShareGpt(path=str(path), requests=1), encode=words)
    assert says in str(problem.value)
    assert str(path) in str(problem.value)
    assert "\n" not in str(problem.value)
