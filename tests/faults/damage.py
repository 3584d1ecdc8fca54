"""Hypothesis strategies that damage what is well: bytes, and values within plain data."""

import copy
from typing import Any

from hypothesis import strategies as st

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from(
        ["", "0", "-1", "1e999", "nan", "\ud800", "\x00", "a/../../b", "~", 0, -1, 1e308, [], {},
         [[]], [None], {"": 1}, 2**63, 10**400, "x" * 5000]
    ),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.none(), max_size=2),
)  # fmt: skip


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Cut, insert, change and repeat stretches of it."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(raw)))
        end = min(len(raw), begin + draw(st.sampled_from([0, 1, 1, 2, 8, 100, 10**9])))
        stretch = draw(st.sampled_from(["cut", "put", "flip", "twice"]))
        if stretch == "cut":
            del raw[begin:end]
        elif stretch == "put":
            raw[begin:begin] = draw(st.binary(max_size=8) | st.sampled_from(TOKENS))
        elif stretch == "flip" and begin < len(raw):
            raw[begin] ^= 1 << draw(st.integers(0, 7))
        elif stretch == "twice":
            raw[begin:begin] = raw[begin:end]
    return bytes(raw)


TOKENS = [
    b"{", b"[" * 2000, b'"', b"null", b"-", b"1e999", b"NaN", b"\xef\xbb\xbf", b"\xff\xfe", b"\n",
    b"\\ud800", b"\x00", b"9" * 400,
]  # fmt: skip


@st.composite
def damaged_data(draw: st.DrawFn, whole: Any) -> Any:
    """Plain data of which one to three values, somewhere in it, are others, gone or more."""
    made = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        if not (places := [*_places(made)]):
            break
        container, key = places[draw(st.integers(0, len(places) - 1))]
        how = draw(st.sampled_from(["other", "other", "gone", "more"]))
        if how == "other":
            container[key] = draw(ODD)
        elif how == "gone":
            del container[key]
        elif isinstance(container, dict):
            container[draw(st.text(max_size=6))] = draw(ODD)
        else:
            container.append(draw(ODD))
    return made


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container within it, with each of its keys or indices."""
    items: list[Any] = []
    if isinstance(value, dict):
        items = [*value.items()]
    elif isinstance(value, list):
        items = [*enumerate(value)]
    here = [(value, key) for key, _ in items]
    return here + [place for _, inner in items for place in _places(inner)]
