"""Put results, one after the other, into groups and series.

Results are taken one at a time and let go again: of a thousand of them only the numbers of the
chosen metrics are kept.
"""

from collections.abc import Iterable

from compare import metrics, stats
from compare.diff import cells, facts
from compare.metrics import Metric
from compare.trend import steps
from compare.trend.outcome import Experiment, MetricSeries, Moved, Trend, TrendRun
from measure.result import Cell, Result

SHORT = 12
AHEAD = " (tokens stored when scheduled)"
"""Another meaning is another series: results from before tokens counted from their own step on."""


class Collector:
    """Takes results in the order of time, gives the trend."""

    def __init__(self, chosen: Iterable[str] = ()) -> None:
        names = tuple(chosen)
        every = map(metrics.get, names) if names else metrics.METRICS
        self._metrics = [metric for metric in every if names or metric.gates]
        self._groups: dict[tuple[str, ...], Experiment] = {}
        self._series: dict[tuple[int, str, str], MetricSeries] = {}
        self._works: dict[tuple[int, cells.Key], list[tuple[tuple[int, ...], ...]]] = {}

    def add(self, result: Result, link: str) -> None:
        """Take the next result."""
        key = facts.same_experiment(result)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Experiment(name=_name(result), about=_about(key))
        group.runs.append(_run(result, link))
        if len(group.runs) > 1 and (what := _moved(*group.runs[-2:])):
            group.changes.append(Moved(run=len(group.runs) - 1, what=what))
        for which, repeats in cells.grouped(result.runs).items():
            name = self._named(group, which, repeats)
            ahead = cells.counted_ahead(repeats)
            for metric in self._metrics:
                series = name + AHEAD if ahead and metric.of_stored else name
                self._point(group, series, repeats, metric)

    def _named(self, group: Experiment, which: cells.Key, repeats: list[Cell]) -> str:
        """The cell's name; other work than its first is another cell, with a name of its own."""
        done, known = cells.work(repeats), self._works.setdefault((id(group), which), [])
        if all(done) and done not in known:
            known.append(done)
        if not all(done) or done == known[0]:
            return cells.name(which)
        requests, tokens = ("/".join(map(str, counts)) for counts in done)
        return f"{cells.name(which)} ({requests} requests, {tokens} tokens)"

    def _point(self, group: Experiment, cell: str, repeats: list[Cell], metric: Metric) -> None:
        values = metrics.values(metric, repeats)
        requests = min(cell.requests_run or cell.requests_asked for cell in repeats)
        if not values or not metric.supported(requests) or not cells.says(metric, repeats):
            return
        series = self._one(group, cell, metric)
        summary = stats.summarize(values)
        series.runs.append(len(group.runs) - 1)
        series.mean.append(summary.mean)
        series.low.append(summary.low)
        series.high.append(summary.high)

    def _one(self, group: Experiment, cell: str, metric: Metric) -> MetricSeries:
        key = (id(group), cell, metric.name)
        if key not in self._series:
            self._series[key] = MetricSeries(
                cell=cell, metric=metric.name, title=metric.title, unit=metric.unit,
                better=metric.better,
            )  # fmt: skip
            group.series.append(self._series[key])
        return self._series[key]

    def trend(self, damaged: Iterable[str] = ()) -> Trend:
        """Find the steps, and give everything; the group with the newest run first."""
        for group in self._groups.values():
            for series in group.series:
                series.steps = steps.find(series, group.changes)
        newest = sorted(self._groups.values(), key=lambda g: g.runs[-1].begun, reverse=True)
        return Trend(groups=newest, damaged=list(damaged))


def _name(result: Result) -> str:
    return f"{result.workload.name}, {result.model.name}, {result.dtype}, {result.device}"


def _about(key: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(facts.REFUSE, key, strict=True))


def _run(result: Result, link: str) -> TrendRun:
    commit = facts.part(result, "git", "commit")
    return TrendRun(
        begun=str(result.volatile.get("begun", "")),
        commit=str(commit)[:SHORT] if commit else None,
        dirty=facts.part(result, "git", "dirty") is True,
        suite=str(result.suite.get("name", "")),
        link=link,
        environment=facts.environment(result),
    )


def _moved(before: TrendRun, after: TrendRun) -> list[str]:
    names = sorted(before.environment.keys() | after.environment.keys())
    pairs = ((n, before.environment.get(n), after.environment.get(n)) for n in names)
    return [f"{name} {one or 'none'} -> {two or 'none'}" for name, one, two in pairs if one != two]
