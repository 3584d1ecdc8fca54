"""The main figures as SVG files, for a README: what held slots were for, and memory over time.

Run: python -m report.figures RUN_FOLDER OUT_FOLDER

Drawn with Matplotlib (the `figures` extra), on a transparent ground and in colours that read on
light and dark alike. The same input gives the same bytes, so that a README's figures change in
git only when the numbers do.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare import summary
from measure import build
from measure.build import Run
from measure.phases import host_memory
from measure.result import Result
from report.reduce import reduce
from traces.errors import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#808792"  # readable on white and on near-black
LINES = ("#3f8fd2", "#d9662b", "#1f9e77", "#b0689b", "#a8862a", "#7277cf")
CAUSES = {
    "live": "#1f9e77", "reservation": "#c9a227", "scheduled_ahead": "#7277cf",
    "internal": "#d9662b", "padding": "#8b9099",
}  # fmt: skip
POINTS = 600


def write(result: Result, run_folder: Path, out: Path, run: Run | None = None) -> list[Path]:
    """Write waste.svg and memory.svg into `out`; returns what was written."""
    plt = _matplotlib()
    run = run or Run(run_folder)
    out.mkdir(parents=True, exist_ok=True)
    return [
        _save(plt, out / "waste.svg", lambda axes: waste(axes, result)),
        _save(plt, out / "memory.svg", lambda axes: memory(axes, result, run)),
    ]


def waste(axes: "Axes", result: Result) -> None:
    """One bar a backend: the held slots by what they were for."""
    columns = [c for c in summary.columns(result) if c.values["kv_efficiency"] is not None]
    left = [0.0] * len(columns)
    for cause, color in CAUSES.items():
        sizes = [_share(column, cause) for column in columns]
        labels, name = [column.label for column in columns], cause.replace("_", " ")
        bars = axes.barh(labels, sizes, left=left, color=color, label=name, height=0.62)
        for bar, size in zip(bars, sizes, strict=True):
            if size >= 0.06:
                middle = bar.get_x() + bar.get_width() / 2
                axes.text(middle, bar.get_y() + bar.get_height() / 2, f"{size:.0%}",
                          ha="center", va="center", color="white", fontsize=9)  # fmt: skip
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0%}")
    axes.set_title("Held KV slots, by what they were for", color=INK, fontsize=11, loc="left")


def memory(axes: "Axes", result: Result, run: Run) -> None:
    """A line a backend, from its own start."""
    for number, column in enumerate(summary.columns(result)):
        timeline = run.window(column.label, column.first.repeat)
        if timeline is None:
            continue
        seen = timeline.seen.used() if timeline.seen.devices else host_memory(timeline)
        end = max([timeline.last, *(w.end or 0 for w in timeline.phases.values())])
        line = reduce(seen, timeline.start, end, POINTS)
        axes.plot(
            (line.t - timeline.start) / 1e9, line.v / 2**30, color=LINES[number % len(LINES)],
            linewidth=1.6, label=column.label,
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the backend's start", color=INK)
    axes.set_ylabel("GiB", color=INK)
    kind = "GPU memory" if result.device == "cuda" else "Memory of the processes (PSS)"
    axes.set_title(kind, color=INK, fontsize=11, loc="left")


def _share(column: summary.Column, cause: str) -> float:
    if cause == "live":
        return min(column.values["kv_efficiency"] or 0.0, 1.0)
    share = column.waste.get(cause)
    return share.value or 0.0 if share else 0.0


def _save(plt: Any, path: Path, draw: Any) -> Path:
    with plt.rc_context({"svg.hashsalt": "pagedbench", "svg.fonttype": "path"}):
        figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
        draw(axes)
        axes.tick_params(colors=INK)
        axes.grid(axis="x", color=INK, alpha=0.2)
        handles, labels = axes.get_legend_handles_labels()
        if labels:
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels),
                          frameon=False, labelcolor=INK, fontsize=9)  # fmt: skip
        for spine in axes.spines.values():
            spine.set_color(INK)
            spine.set_alpha(0.4)
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)
    return path


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise Problem("figures need Matplotlib: pip install 'pagedbench[figures]'") from None
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    return plt


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for written in write(build.build(folder), folder, Path(sys.argv[2])):
        print(written)
