"""What an engine says of itself: sizes, settings and versions, one declaration for both sides.

Workers fill an `EngineFacts` in and `measure` reads its attributes. In a trace's `facts` record and
in a result it is one flat object: a fact of a phase's edge has the edge in its key
("outside_allocator_bytes.run.end"), and what this code has no field for stands beside the rest.
`to_values` and `from_values` are the two ways between the forms.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from traces.errors import Problem

Values = dict[str, Any]
"""Facts as a record holds them, by name; later ones win."""


class EngineFacts(Struct, kw_only=True, omit_defaults=True):
    """Sizes in bytes or slots; None is what the engine did not say. Facts of edges: edge to bytes.

    The KV cache: blocks that requests may have, `num_blocks`; rows of `max_cache_len` slots,
    `batch` at once; `formula_bytes_per_slot` by the model's shape. A cache that grows is made of
    `cache_tensors` equal ones. `mask_bytes` are of a mask that is made up front. Kernels may have
    made copies of the weights (`weights_repacked`). What is measured of cache, weights, graphs and
    context is in the `Layout`.

    The engine's own account: `engine_kv_usage_peak`, a share, and `engine_throughput_tokens_per_s`.
    `stored_when` is "executing" where tokens count from the step that computes them; traces of
    before it was written counted them when they were scheduled.
    """

    num_blocks: int | None = None
    max_cache_len: int | None = None
    batch: int | None = None
    formula_bytes_per_slot: int | None = None
    cache_tensors: int | None = None
    mask_bytes: int | None = None
    weights_repacked: bool | None = None
    context_at_import_bytes: int | UnsetType | None = UNSET  # null: there is no device to ask
    graph_pool_bytes: int | None = None
    graph_driver_bytes: int | None = None
    engine_kv_usage_peak: float | None = None
    engine_throughput_tokens_per_s: float | None = None
    engine_process: bool | None = None
    stored_when: str | None = None
    modules_before_engine: list[str] | None = None
    versions: Values | None = None
    settings: Values | None = None

    outside_allocator_bytes: dict[str, int | None] = field(default_factory=dict)
    pss_weights_file_bytes: dict[str, int | None] = field(default_factory=dict)
    pss_files_bytes: dict[str, int | None] = field(default_factory=dict)
    pss_anonymous_bytes: dict[str, int | None] = field(default_factory=dict)

    extras: Values = field(default_factory=dict)
    """What has no field here, and nulls that somebody wrote: kept as they came."""


AT_EDGES = (
    "outside_allocator_bytes", "pss_weights_file_bytes", "pss_files_bytes", "pss_anonymous_bytes",
)  # fmt: skip
SINGLE = {*EngineFacts.__struct_fields__} - {*AT_EDGES, "extras"}


def to_values(facts: EngineFacts) -> Values:
    """Return the facts that are known, by name, as a record holds them."""
    values: Values = msgspec.to_builtins(facts)
    extras: Values = values.pop("extras", {})
    for name in AT_EDGES:
        sizes = values.pop(name, {})
        values |= {f"{name}.{edge}": size for edge, size in sizes.items()}
    values |= extras
    return values


def from_values(values: Values, where: str = "facts") -> EngineFacts:
    """Return the facts that records gave. Raises Problem for one that is not of its type."""
    plain: Values = {name: {} for name in (*AT_EDGES, "extras")}
    for key, value in values.items():
        name, _, edge = key.partition(".")
        if edge and name in AT_EDGES:
            plain[name][edge] = value
        elif key in SINGLE and (value is not None or key == "context_at_import_bytes"):
            plain[key] = value
        else:
            plain["extras"][key] = value
    try:
        return msgspec.convert(plain, EngineFacts)
    except msgspec.ValidationError as error:
        raise Problem(f"{where}: an engine's fact is not what it should be: {error}") from None
