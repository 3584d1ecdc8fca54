"""How numbers are written, the same in every output: sizes, times, rates, shares, counts.

Each takes None for a number that could not be had and writes DASH.
"""

DASH = "-"


def size(value: float | None) -> str:
    """Bytes in binary units, to three digits."""
    if value is None:
        return DASH
    sign, value = ("-" if value < 0 else ""), abs(value)
    power = next((power for power in (0, 1, 2) if value < 1000 * 1024**power), 3)
    value /= 1024**power
    digits = 0 if not power or value >= 100 else 1 if value >= 10 else 2
    return f"{sign}{value:,.{digits}f} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def seconds(value: float | None) -> str:
    """Seconds, or milliseconds below one."""
    if value is None:
        return DASH
    if value < 0.01:
        return f"{value * 1e3:.2g} ms"
    if value < 1:
        return f"{value * 1e3:.0f} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def share(value: float | None) -> str:
    """A share in percent."""
    return DASH if value is None else f"{value:.1%}"


def count(value: float | None) -> str:
    """A count, or the mean of counts."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.1f}"


def rate(value: float | None) -> str:
    """Tokens per second."""
    if value is None:
        return DASH
    return f"{value:,.0f} tok/s" if value >= 100 else f"{value:.3g} tok/s"


def rounded(value: float, digits: int) -> str:
    """A number to so many digits, never with an exponent below a million: 399 to two is 400."""
    return f"{float(f'{value:.{digits}g}'):g}"


def ratio(value: float | None, digits: int = 3) -> str:
    """A ratio; to two digits where a side was run only once."""
    return DASH if value is None else f"{rounded(value, digits)}x"


def times(value: float | None) -> str:
    """How often something happened; nothing where it never did."""
    return count(value) if value else DASH


def energy(value: float | None) -> str:
    """Joules."""
    return DASH if value is None else f"{value:.3g} J"


_WRITERS = {
    "B": size, "s": seconds, "share": share, "tok/s": rate, "ratio": ratio, "times": times,
    "J": energy,
}  # fmt: skip


def write(value: float | None, unit: str) -> str:
    """A value under a heading that says what it is: a count without its unit."""
    return _WRITERS.get(unit, count)(value)


def show(value: float, unit: str) -> str:
    """A value that is compared with its like: a digit more than `write`, and always its unit."""
    if unit == "B":
        return size(value)
    if unit == "s" and 0 < value < 1:
        return f"{value * 1e3:.4g} ms"
    if unit == "share":
        return f"{value * 100:.2f} %"
    if float(value).is_integer() and abs(value) < 1e9:
        return f"{int(value):,} {unit}"
    return f"{value:.4g} {unit}" if abs(value) < 1e3 else f"{value:,.0f} {unit}"
