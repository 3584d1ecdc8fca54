"""Results looked up by git revision."""


def test_revisions_are_looked_up(toy):
    first = toy.shell("make bench && git rev-parse HEAD").out.splitlines()[-1]
    toy.commit("slower", noise=0.005, slower={"vllm": 1.2})
    toy.shell("make bench")
    done = toy.pagedbench("diff", "HEAD~1", "HEAD")
    assert done.code == 1, done.err
    assert "base  HEAD~1 (results/" in done.out
    assert first[:10] in done.out
    assert toy.pagedbench("diff", "HEAD", "HEAD~1").code == 0
    assert toy.pagedbench("diff", first[:12], "main").code == 1
    assert toy.pagedbench("diff", "results/latest", "main").code == 0


def test_a_revision_without_result(toy):
    toy.shell("make bench")
    commit = toy.commit("nobody ran this", noise=0.02)
    done = toy.pagedbench("diff", "HEAD~1", "HEAD")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"HEAD is {commit[:10]}, of which there is no result in results" in done.err


def test_base_is_the_one_that_compares(toy):
    toy.shell("make bench")
    toy.shell("sed -i 's/bfloat16/float32/' results/*/result.json && sleep 1.1 && make bench")
    done = toy.pagedbench("diff", "HEAD", "results/latest")
    assert done.code == 3  # only the other dtype is left for base
    toy.shell("sleep 1.1 && make bench")
    assert toy.pagedbench("diff", "HEAD", "HEAD").code == 0
