"""Did every backend generate what the model says? Greedy regret, teacher-forced in float32.

Each backend's own output is fed to a float32 model, which tells at every position how much less
likely the chosen token was than the best one: that is the regret, in nats of log-probability. In
float32 the token ids must be the reference's, or differ only at a tie (regret under 1e-3). In
bfloat16 right engines part at near-ties, so ids cannot be compared; regret can: rounding costs
little, a missing mask or a shifted cache costs much.

Runs in a process of its own, after the cells; writes nothing but its answer.
"""

from pathlib import Path
from typing import Any

import msgspec

from traces.control import Channel
from traces.job import Prompt, Workload
from traces.messages import Progress
from traces.parity import Judged, Judging, Parity
from traces.reader import read
from traces.records import Phase, Request

MOST_REQUESTS = 16  # per cell: enough to find a bug, little enough to wait for
EXACT_REGRET = 1e-3
# Regret of right engines, with room: at most 0.19 and 0.004 were seen with the bundled model,
# planted bugs gave 0.56 and more. Other models get the same until somebody calibrates them.
LOW_PRECISION_MAX, LOW_PRECISION_MEAN = 0.30, 0.006
# Made-up prompts have near-ties where rounding costs more: 1.2 was seen once in 1,441 tokens of a
# right engine. One in so many may pass the maximum; and a mean is taken over no fewer than that.
RARE, ENOUGH = 500, 256


def main(asked: Judging, channel: Channel) -> None:
    """Judge cells."""
    workload = msgspec.json.decode(Path(asked.workload).read_bytes(), type=Workload)
    prompts = {prompt.id: prompt for prompt in workload.requests[:MOST_REQUESTS]}
    outputs = {
        name: outputs_of(Path(path), prompts, name if name in asked.points else None)
        for name, path in asked.cells.items()
    }
    model = load(asked.model, asked.device, asked.trust_remote_code)
    judge = Judge(model, prompts, asked.dtype, outputs.get(asked.reference, {}))
    verdicts = {}
    for name, found in outputs.items():
        verdicts[name] = judge.verdict(found, asked.reference)
        channel.send(Progress(done=len(verdicts), of=len(outputs)))
    channel.send(Judged(parity=verdicts))


def outputs_of(path: Path, prompts: dict[str, Prompt], point: str | None) -> dict[str, list[int]]:
    """Return the recorded output ids of the judged requests, of one run window if it is named.

    Of requests that were given up it is what came by then; those that got nothing are left out.
    """
    found, within = {}, point is None
    for record in read(path):
        if isinstance(record, Phase) and point is not None:
            within = record.point == point and record.edge == "begin"
        elif within and isinstance(record, Request) and record.id in prompts and record.token_ids:
            found[record.id] = record.token_ids
    return found


def load(model: str, device: str, trust_remote_code: bool) -> Any:
    """Load the same weights in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        model, dtype=torch.float32, device_map=device, trust_remote_code=trust_remote_code
    ).eval()


class Judge:
    """Computes regret once for each distinct output and compares ids with the reference's."""

    def __init__(
        self, model: Any, prompts: dict[str, Prompt], dtype: str, reference: dict[str, list[int]]
    ) -> None:
        self._model = model
        self._prompts = prompts
        self._exact = dtype == "float32"
        self._reference = reference
        self._known: dict[tuple[str, tuple[int, ...]], tuple[list[float], list[float]]] = {}

    def verdict(self, outputs: dict[str, list[int]], reference: str) -> Parity:
        """Judge one cell's outputs."""
        regrets = [r for name, ids in outputs.items() for r in self.regret(name, ids)[0]]
        shared = [name for name in outputs if name in self._reference]
        same = [name for name in shared if _agree(outputs[name], self._reference[name])]
        worst = max(regrets, default=0.0)
        mean = sum(regrets) / max(1, len(regrets))
        note = f"{len(regrets)} tokens of {len(outputs)} requests, teacher-forced in float32"
        if self._exact:
            right = worst <= EXACT_REGRET
        else:
            above, may = sum(r > LOW_PRECISION_MAX for r in regrets), len(regrets) // RARE
            right = above <= may and sum(regrets) / max(ENOUGH, len(regrets)) <= LOW_PRECISION_MEAN
            note += (
                f"; {above} above {LOW_PRECISION_MAX} where {may} may be; "
                f"{mean:.2g} on average where {LOW_PRECISION_MEAN} may be"
            )
        return Parity(
            verdict="pass" if right and regrets else "fail" if regrets else "n/a",
            method="identical ids or ties in float32" if self._exact else "greedy regret",
            reference=reference, identical=len(same), compared=len(shared),
            first_divergence=self._divergence(outputs, shared),
            max_regret=worst, mean_regret=mean, note=note,
        )  # fmt: skip

    def regret(self, name: str, ids: list[int]) -> tuple[list[float], list[float]]:
        """Return, per output token, the regret and the log-probability the model gave it."""
        key = (name, tuple(ids))
        if key not in self._known:
            self._known[key] = self._forward(self._prompts[name].prompt_ids, ids)
        return self._known[key]

    def _forward(self, prompt: list[int], ids: list[int]) -> tuple[list[float], list[float]]:
        """One forward pass over prompt and output, logits at the output's places."""
        import torch

        if not ids:
            return [], []
        device = self._model.device
        tokens = torch.tensor([prompt + ids[:-1]], device=device)
        with torch.no_grad():
            logits = self._model(tokens, use_cache=False).logits[0, len(prompt) - 1 :].float()
        scores = torch.log_softmax(logits, dim=-1)
        chosen = scores.gather(1, torch.tensor(ids, device=device)[:, None])[:, 0]
        return (scores.max(dim=-1).values - chosen).tolist(), chosen.tolist()

    def _divergence(
        self, outputs: dict[str, list[int]], shared: list[str]
    ) -> dict[str, Any] | None:
        """Return where this cell first leaves the reference: tokens and log-probabilities."""
        first: dict[str, Any] | None = None
        for name in shared:
            ours, theirs = outputs[name], self._reference[name]
            place = next(
                (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None
            )
            if place is not None and (first is None or place < first["position"]):
                first = {
                    "request": name, "position": place,
                    "token": ours[place], "logprob": self.regret(name, ours)[1][place],
                    "reference_token": theirs[place],
                    "reference_logprob": self.regret(name, theirs)[1][place],
                }  # fmt: skip
        return first


def _agree(ours: list[int], theirs: list[int]) -> bool:
    """Whether two outputs are the same as far as both came: time may have ended either."""
    return all(a == b for a, b in zip(ours, theirs, strict=False))
