"""How an engine's memory is laid out: what the KV cache is made of, and what each device holds.

Sizes are bytes; null is what the engine did not say. Today's engines are one group on one rank.
"""

from typing import Literal

from msgspec import Struct, field


class CacheGroup(Struct, kw_only=True):
    """Layers that store alike. `bytes_per_token` is over all of them, by their tensors.

    Paged caches have blocks of `block_tokens`. A window is in tokens; `state_bytes` are of a state
    that does not grow.
    """

    name: str = "full"
    kind: Literal["full", "sliding", "chunked", "latent", "state", "cross"] = "full"
    layers: int | None = None
    bytes_per_token: int | None = None
    block_tokens: int | None = None
    bytes_per_block: int | None = None
    window: int | None = None
    state_bytes: int | None = None


class Rank(Struct, kw_only=True):
    """One device's share: its places in tensor, pipeline and data parallelism, and its bytes.

    `device` counts those that the cell sees. `weights_bytes` are those of the checkpoint where
    kernels made copies of their own. `graph_bytes` are of CUDA graphs, in the allocator's pool and
    of the driver; `context_bytes` are outside the allocator once warm, without the graphs.
    """

    index: int = 0
    tp: int = 0
    pp: int = 0
    dp: int = 0
    device: int = 0
    weights_bytes: int | None = None
    pool_bytes: int | None = None
    graph_bytes: int | None = None
    context_bytes: int | None = None


class Layout(Struct, kw_only=True):
    """`kind` is dynamic, static, padded or paged; `kernels` are the attention's, by name."""

    kind: str | None = None
    groups: list[CacheGroup] = field(default_factory=lambda: [CacheGroup()])
    ranks: list[Rank] = field(default_factory=lambda: [Rank()])
    kernels: list[str] = field(default_factory=list)

    @property
    def group(self) -> CacheGroup:
        """The only group."""
        (group,) = self.groups
        return group

    @property
    def rank(self) -> Rank:
        """The only rank."""
        (rank,) = self.ranks
        return rank
