"""How outcomes are said, the same in every output; and the sentences beside the numbers."""

import json
from collections.abc import Mapping
from typing import Any

from compare.repeats import DOUBT
from compare.stats import Summary
from compare.summary import Column
from measure.result import Check, Parity, Result
from report import loads
from traces.units import DASH, count, rate, share, size

LONGEST = 400
ENOUGH = "KV cache that would do"
KIND = {
    "dynamic": "grows with each request",
    "static": "reserved at the maximum length",
    "padded": "a padded batch",
    "paged": "blocks handed out on demand",
}
RESERVED = {
    "reserve-max": "blocks for the maximum length, at admission",
    "reserve-pow2": "blocks for the next power of two of the output, at admission",
    "reserve-final": "blocks for the final length, at admission",
}


def parity(found: Parity | None) -> str:
    """Whether the tokens are the reference's, in few words."""
    if found is None:
        return DASH
    if found.verdict == "n/a":
        return f"n/a ({found.note})" if found.note else "n/a"
    same = f"{found.identical}/{found.compared} identical"
    if found.max_regret is not None:
        same += f", regret at most {found.max_regret:.2g}"
    return f"{found.verdict}: {same}"


def kind(column: Column) -> str | None:
    """How a backend's cache is had, in few words; None where it is not known."""
    policy = column.first.options.get("policy")
    return RESERVED.get(str(policy)) or KIND.get(column.layout or "")


def divergence(found: Parity | None) -> str:
    """Where the tokens first differ from the reference's; empty when they do not."""
    if found is None or not found.first_divergence:
        return ""
    at = found.first_divergence
    where = f"request {at.get('request')}, token {at.get('position')}"
    ours = _token(at.get("token"), at.get("logprob"))
    theirs = _token(at.get("reference_token"), at.get("reference_logprob"))
    return f"first differs from {found.reference} at {where}: {ours} instead of {theirs}"


def _token(token: Any, logprob: Any) -> str:
    """A token id, and how likely the judging model found it."""
    likely = f" (log-probability {logprob:.3f})" if isinstance(logprob, float) else ""
    return f"id {token}{likely}"


def status(column: Column) -> str:
    """The outcome, and of how many repeats."""
    return (
        column.status
        if column.ok == column.repeats
        else f"{column.status} ({column.ok}/{column.repeats} ok)"
    )


def enough(column: Column) -> str:
    """The KV cache that would have been enough, in blocks where there are any, and its device."""
    known = [cell.enough for cell in column.cells if cell.enough]
    if not known:
        return DASH
    most = max(known, key=lambda found: found.pool_bytes)
    blocks = f"{most.pool_blocks:,} blocks, " if most.pool_blocks else ""
    part = most.gpu_memory_utilization
    return f"{blocks}{size(most.pool_bytes)}" + (f" ({share(part)} of the GPU)" if part else "")


def number(value: float | None) -> str:
    """One side of a check: exact where it is whole."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value == int(value) else f"{value:.6g}"


def side(check: Check, value: float | None) -> str:
    """One side of a check in its unit."""
    if value is None:
        return DASH
    if check.name.startswith(("ledger", "allocator")):
        return f"{value / 2**20:,.1f} MiB"
    return f"{value * 100:.4g}%" if check.name.startswith("KV usage") else number(value)


def flat(settings: Mapping[str, Any], under: str = "") -> list[tuple[str, str]]:
    """Nested settings as (name, value) lines, cut to a readable length."""
    lines: list[tuple[str, str]] = []
    for name, value in sorted(settings.items()):
        if isinstance(value, Mapping):
            lines += flat(value, f"{under}{name}.")
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            lines += flat({str(i): item for i, item in enumerate(value)}, f"{under}{name}.")
        elif value is not None:
            lines.append((f"{under}{name}", cut(value)))
    return lines


def cut(value: Any) -> str:
    """A value as text, cut after what one cares to read."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters in all)"


def heading(column: Column) -> str:
    """A backend's name above its numbers, marked where they are doubtful."""
    return column.label + (DOUBT if doubts(column) else "")


def failure(column: Column) -> list[str]:
    """Why a backend did not run to its end; empty where it did."""
    if column.ok == column.repeats:
        return []
    return [f"{column.label}: {column.status}: {column.reason or 'no reason given'}"]


def doubts(column: Column) -> list[str]:
    """What makes a backend's numbers doubtful: its tokens, its checks, the machine."""
    name, said = f"{column.label}{DOUBT}", []
    if column.parity and column.parity.verdict == "fail":
        said.append(f"{name}: not the model's tokens: {column.parity.note}")
    if column.left_out:
        said.append(f"{name}: left out of its numbers: {column.left_out} of {column.ok} repeats")
    for check in (check for check in column.checks if check.verdict == "fail"):
        both = f"{number(check.ours)} against {number(check.theirs)}"
        said.append(f"{name}: check failed: {check.name}: {both}")
    return said + [f"{name}: doubtful: {doubt}" for doubt in column.suspect]


def notes(column: Column) -> list[str]:
    """What else must be known about a backend: why it failed, what is doubtful."""
    said = failure(column)
    if column.truncated:
        said.append(f"{column.label}: ran fewer requests: {column.truncated}")
    if diverged := divergence(column.parity):
        said.append(f"{column.label}: {diverged}")
    return said + doubts(column)


def used(column: Column, kind: str, speed: Summary | None) -> str:
    """What one backend used and did; `kind` is whose memory it is, `speed` its throughput."""
    values = column.values
    if not column.ok:
        return f"did not run to its end ({column.status})."
    peak = size(values.get("run_peak"))
    said = f"used at most {peak} of {'GPU' if kind == 'device' else 'host'} memory during the run"
    if (held := values.get("kv_held_bytes")) is not None:
        said += f"; its requests held {size(held)} of KV cache on average"
        full = values.get("kv_efficiency")
        said += f", {share(full)} of it with live tokens" if full is not None else ""
    if speed is not None:
        said += f". It generated {rate(speed.mean)}{_interval(speed)}"
        if most := column.ranges.get("peak_running", (0, 0))[1]:
            said += f", up to {count(most)} requests at once" if most > 1 else ", one by one"
    return said + "."


def _interval(found: Summary) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" (95 % interval {found.low:,.4g} to {found.high:,.4g})"


def external(columns: list[Column]) -> str:
    """What contiguous caches leave in free pieces; empty where the allocator was not watched."""
    shares = [(column.label, column.waste.get("external")) for column in columns]
    known = [f"{label} {share(s.value)}" for label, s in shares if s and s.how == "measured"]
    return ", ".join(known)


def once(columns: list[Column]) -> str:
    """Why there is no interval, where there is none."""
    if not columns or any(column.repeats > 1 for column in columns):
        return ""
    return "Every backend ran once, so no interval can be given: --repeats 5 gives one."


UNFINISHED = "This run was not completed: what is missing here was not run, or not judged."


def sentences(result: Result, columns: list[Column]) -> list[str]:
    """What a newcomer needs to read the table, said only where it is true of this run."""
    said = [] if result.complete else [UNFINISHED]
    if any(column.ok for column in columns):
        said += [_same(result), *loads.unequal(result, columns)]
    return [*said, *filter(None, [loads.rated(columns)]), *reading(columns)]


def reading(columns: list[Column]) -> list[str]:
    """What a reader could take a row for, and should not."""
    said = []
    if paged := [c for c in columns if c.layout == "paged" and c.values.get("kv_pool_bytes")]:
        pools = " and ".join(f"of {c.label} ({size(c.values['kv_pool_bytes'])})" for c in paged)
        said.append(
            f"The KV pool {pools} is a setting: it is taken at the start whatever the load, so "
            "memory in use is not need. What the requests needed is under 'KV held'."
        )
    said.append(
        "Memory efficiency is the share of held KV slots with a live token in them, averaged over "
        "the time of the run; the rest is reserved for later, past a request's end, or padding."
    )
    return said


def _same(result: Result) -> str:
    load = result.workload
    what = "weights" if result.model.same_weights else "model shape, with random weights of its own"
    return (
        f"Every backend got the same prompt token ids and output lengths for "
        f"{count(load.requests)} request{'s' if load.requests != 1 else ''} "
        f"({load.prompt_tokens:,} prompt and {load.output_tokens:,} output tokens), {result.dtype} "
        f"and the same {what}; each ran greedily, in a fresh process."
    )
