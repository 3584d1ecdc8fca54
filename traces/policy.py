"""How many tokens' room a request is given when it is admitted: the allocation policies.

`paged` gives blocks as tokens come. The others reserve at admission as engines did before paging,
under the names of Kwon et al. 2023 (arXiv 2309.06180, section 6.1): `reserve-max` is Orca (Max),
`reserve-pow2` Orca (Pow2), `reserve-final` Orca (Oracle).
"""

from typing import Literal, get_args

Policy = Literal["paged", "reserve-max", "reserve-pow2", "reserve-final"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


def reserved_tokens(policy: Policy, prompt: int, output: int, max_length: int) -> int:
    """Return the token slots reserved at admission; 0 for `paged`.

    The key and value of the last token are never stored, so the oracle leaves it out. Pow2 rounds
    the *output* up to a power of two, as in the paper: 25 gives 32, 32 gives 32.
    """
    match policy:
        case "paged":
            return 0
        case "reserve-max":
            return max_length
        case "reserve-pow2":
            return min(max_length, prompt + (1 << max(output - 1, 0).bit_length()))
        case "reserve-final":
            return min(max_length, prompt + output - 1)


def blocks(policy: Policy, prompt: int, output: int, max_length: int, block: int) -> int:
    """Return the blocks that a request holds when it is as long as it gets."""
    room = max(reserved_tokens(policy, prompt, output, max_length), prompt + output - 1)
    return -(-room // block)
