"""The trend as one HTML file that needs nothing else: no network, no server.

Plotly's script is put into the page. The tables of steps and of environment changes are plain
HTML, so they read without scripts too.
"""

import json

import msgspec
from jinja2 import Environment, PackageLoader, select_autoescape
from msgspec import Struct

from compare.trend.outcome import Experiment, MetricSeries, Step, Trend
from traces.units import show

DIGITS = 6


class DrawnSeries(Struct, frozen=True, kw_only=True):
    """One metric of one cell: at run `runs[i]` it was `y[i]`; a step is its run, verdict, size."""

    cell: str
    metric: str
    title: str
    runs: list[int]
    y: list[float | None]
    low: list[float | None]
    high: list[float | None]
    steps: list[tuple[int, str, str]]


class DrawnExperiment(Struct, frozen=True, kw_only=True):
    """Runs along the time axis, and what changed of the environment at which."""

    name: str
    x: list[str]
    commit: list[str | None]
    link: list[str]
    changes: list[tuple[int, str]]
    series: list[DrawnSeries]


def render(trend: Trend) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    env = Environment(
        loader=PackageLoader("report.trend", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = env.get_template("page.html.j2")
    return page.render(
        trend=trend, data=embedded(trend), plotly=get_plotlyjs(), moved=moved, show=show,
        percent=percent,
    )  # fmt: skip


def embedded(trend: Trend) -> str:
    """The numbers as JSON that is safe inside a script element."""
    drawn = msgspec.to_builtins([_experiment(group) for group in trend.groups])
    text = json.dumps(drawn, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _experiment(group: Experiment) -> DrawnExperiment:
    return DrawnExperiment(
        name=group.name,
        x=[run.begun for run in group.runs],
        commit=[run.commit for run in group.runs],
        link=[run.link for run in group.runs],
        changes=[(change.run, ", ".join(change.what)) for change in group.changes],
        series=[_series(series) for series in group.series],
    )


def _series(series: MetricSeries) -> DrawnSeries:
    return DrawnSeries(
        cell=series.cell,
        metric=series.metric,
        title=f"{series.title} ({series.unit})",
        runs=series.runs,
        y=[_rounded(value) for value in series.mean],
        low=[_rounded(value) for value in series.low],
        high=[_rounded(value) for value in series.high],
        steps=[(step.run, step.verdict, percent(step)) for step in series.steps],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def moved(group: Experiment) -> list[tuple[MetricSeries, Step]]:
    """Every step of a group, the newest first."""
    found = [(series, step) for series in group.series for step in series.steps]
    return sorted(found, key=lambda pair: -pair[1].run)


def percent(step: Step) -> str:
    """The size of a step."""
    return "" if step.ratio is None else f"{(step.ratio - 1) * 100:+.1f} %"
