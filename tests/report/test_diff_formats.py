"""`pagedbench diff` for other programs and for terminals: Markdown, JUnit, and no raw labels."""

from xml.etree import ElementTree

from msgspec.structs import replace

from benchmarks.synthetic import Shop


def test_markdown(pagedbench, stored, base):
    head = Shop(seed=2, slower={"vllm": 1.15}).result()
    head.cells = [replace(c, label="a|b<script>") if c.label == "vllm" else c for c in head.cells]
    done = pagedbench("diff", base, stored("head", head), "--format", "markdown")
    assert done.code == 1
    assert done.out.startswith("### ❌ pagedbench: regressed")
    assert "a\\|b&lt;script>" in done.out
    assert "<script>" not in done.out
    table = [line for line in done.out.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {9}


def test_junit(pagedbench, stored, base):
    head = stored("head", seed=2, slower={"vllm": 1.15})
    done = pagedbench("diff", base, head, "--format", "junit")
    root = ElementTree.fromstring(done.out)
    assert int(root.attrib["failures"]) == 3
    failed = {c.get("name") for c in root.iter("testcase") if c.find("failure") is not None}
    assert failed == {"output_tokens_per_s", "ttft_mean", "tpot_mean"}
    assert int(root.attrib["tests"]) == len(list(root.iter("testcase")))
    refused = replace(Shop(seed=2).result(), dtype="float32")
    done = pagedbench("diff", base, stored("other", refused), "--format", "junit")
    assert ElementTree.fromstring(done.out).get("errors") == "1"


def test_nothing_in_a_label_reaches_the_terminal_raw(pagedbench, stored, base):
    head = Shop(seed=2, slower={"vllm": 1.15}).result()
    head.cells = [replace(c, label="\x1b[2Jx\n") if c.label == "vllm" else c for c in head.cells]
    folder = stored("head", head)
    for form in ("table", "markdown", "junit"):
        out = pagedbench("diff", base, folder, "--format", form).out
        assert "\x1b" not in out
