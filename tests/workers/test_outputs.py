"""What was generated: as many tokens as asked, and the same by every backend in float32."""

import pytest

from tests.workers.cells import BACKENDS, PAGED
from workers.ids import sha256

pytestmark = pytest.mark.slow

CELLS = [(backend, "distinct") for backend in BACKENDS]
CELLS += [(backend, plan) for backend in PAGED for plan in ("shared", "tight")]


@pytest.mark.parametrize(("backend", "plan"), CELLS)
def test_every_request_got_what_it_asked_for(ran, backend, plan):
    found = ran(backend, plan)
    asked = {p.id: (len(p.prompt_ids), p.output_tokens) for p in found.prompts}
    counted = {r.id: (r.prompt_tokens, len(r.token_ids)) for r in found.requests.values()}
    assert counted == asked
    assert all(r.output_tokens == len(r.token_ids) for r in found.requests.values())
    assert all(r.token_ids_sha256 == sha256(r.token_ids) for r in found.requests.values())
    assert found.said("done")["requests_run"] == len(asked)
    assert found.said("done")["truncated"] == ""


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_ids_are_those_of_one_request_after_another(ran, backend):
    assert ran(backend).outputs == ran("hf-sequential").outputs


def test_sharing_and_giving_way_change_no_token(ran):
    reference = ran("vllm", "shared").outputs
    for backend, plan in (("vllm", "tight"), ("hf-paged", "shared"), ("hf-paged", "tight")):
        assert ran(backend, plan).outputs == reference


@pytest.mark.parametrize(("backend", "plan"), CELLS)
def test_times_are_in_order(ran, backend, plan):
    for request in ran(backend, plan).requests.values():
        known = [request.start, request.first, request.last]
        times = [request.arrive, *(t for t in known if t is not None), request.t]
        assert times == sorted(times)
        if None in known:
            assert (backend, plan) == ("hf-paged", "tight")
            assert set(request.why or {}) == {"start", "first"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_worker_imports_little_before_its_engine(ran, backend):
    engines = {"torch", "transformers", "vllm", "numpy"}
    ours = {"orchestrator", "measure", "compare", "report", "monitor", "pynvml"}
    assert not (engines | ours) & set(ran(backend).facts["modules_before_engine"])
