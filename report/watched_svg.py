"""The timeline of a watch as one SVG picture: device memory above, the process tree's below.

A picture of its own rather than a page: it opens anywhere, weighs some kilobytes, and no point
that matters is lost (the lowest and highest of every pixel column are kept).
"""

from html import escape

from measure.columns import Series
from measure.sampled import Sampled
from report.reduce import reduce
from traces.units import size

WIDTH, HEIGHT, LEFT, RIGHT, TOP, GAP = 960, 200, 90, 20, 30, 50
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#000000")
NS = 1e9

Panel = tuple[str, dict[str, Series]]


def draw(seen: Sampled) -> str:
    """Return the whole picture."""
    panels = _panels(seen)
    times = [series.t for _, lines in panels for series in lines.values()]
    begin = min((int(t[0]) for t in times), default=0)
    end = max((int(t[-1]) for t in times), default=begin)
    end = max(end, begin + 1)
    height = TOP + len(panels) * (HEIGHT + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (title, lines) in enumerate(panels):
        parts += _panel(title, lines, seen, begin, end, TOP + number * (HEIGHT + GAP))
    return "\n".join([*parts, "</svg>", ""])


def _panels(seen: Sampled) -> list[Panel]:
    devices = {
        f"GPU {trace.about.index if trace.about else ''} {uuid[:12]}": known
        for uuid, trace in seen.devices.items()
        if len(known := trace.memory.series("used").known())
    }
    tree = {
        name.upper(): known
        for name in ("rss", "pss")
        if len(known := seen.host.series(name).known())
    }
    named = (("Device memory used", devices), ("Process tree", tree))
    return [(title, lines) for title, lines in named if lines]


def _panel(
    title: str, lines: dict[str, Series], seen: Sampled, begin: int, end: int, top: int
) -> list[str]:
    most = max(series.peak() or 0 for series in lines.values()) * 1.05 or 1
    bottom = top + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>']
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * HEIGHT
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{size(share * most)}</text>'
        )
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        seconds = share * (end - begin) / NS
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{seconds:.3g} s</text>'
        )
    parts += _edges(seen, begin, end, top)
    for place, (name, series) in enumerate(lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        parts.append(_line(series, begin, end, most, bottom, colour))
        x = LEFT + 180 + 170 * place
        parts.append(f'<text x="{x}" y="{top - 8}" fill="{colour}">{escape(name)}</text>')
    return parts


def _line(series: Series, begin: int, end: int, most: float, bottom: int, colour: str) -> str:
    """A staircase: a value holds until the next is read."""
    part = reduce(series, begin, end, WIDTH)
    before = f"{bottom - part.v[0] / most * HEIGHT:.1f}"
    steps = [f"M{_x(int(part.t[0]), begin, end):.1f} {before}"]
    for t, v in zip(part.t[1:], part.v[1:], strict=True):
        y = f"{bottom - v / most * HEIGHT:.1f}"
        if y != before:
            steps.append(f"H{_x(int(t), begin, end):.1f}V{y}")
            before = y
    steps.append(f"H{_x(end, begin, end):.1f}")
    return f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _edges(seen: Sampled, begin: int, end: int, top: int) -> list[str]:
    """Thin lines where a phase began or ended, and grey where ticks were missed."""
    parts = []
    for t, span in zip(seen.gaps.times(), seen.gaps.column("span"), strict=True):
        left, right = _x(max(begin, int(t - span)), begin, end), _x(int(t), begin, end)
        width = max(0.5, right - left)
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{HEIGHT}" fill="#eee"/>'
        )
    for mark in seen.marks:
        if begin <= mark.t <= end:
            x = _x(mark.t, begin, end)
            parts.append(
                f'<path d="M{x:.1f} {top}v{HEIGHT}" stroke="#999" stroke-dasharray="3 3">'
                f"<title>{escape(f'{mark.phase} {mark.edge}')}</title></path>"
            )
    return parts


def _x(t: int, begin: int, end: int) -> float:
    return LEFT + (t - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)
