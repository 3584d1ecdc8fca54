"""The types of a trend; --json writes them as they are, so names here are a format: version 1."""

from msgspec import Struct, field

from compare.metrics import Better
from compare.stats import Verdict


class TrendRun(Struct, kw_only=True):
    """One result on the time axis. `link` leads to its folder, relative to the results folder."""

    begun: str
    commit: str | None
    dirty: bool
    suite: str
    link: str
    environment: dict[str, str] = field(default_factory=dict)


class Moved(Struct, kw_only=True):
    """Parts of the environment that are not what they were one run before."""

    run: int
    what: list[str]


class Step(Struct, kw_only=True):
    """A new level from `run` on. `ratio` is the new level over the old one."""

    run: int
    before: float
    after: float
    ratio: float | None
    verdict: Verdict
    environment: list[str] = field(default_factory=list)
    """What changed in the environment at the same run: a likely cause."""


class MetricSeries(Struct, kw_only=True):
    """One metric of one cell: at run `runs[i]` it was `mean[i]`, between `low[i]` and `high[i]`."""

    cell: str
    metric: str
    title: str
    unit: str
    better: Better
    runs: list[int] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class Experiment(Struct, kw_only=True):
    """Runs of one experiment: the same workload, model, dtype and machine, oldest first."""

    name: str
    about: dict[str, str]
    runs: list[TrendRun] = field(default_factory=list)
    changes: list[Moved] = field(default_factory=list)
    series: list[MetricSeries] = field(default_factory=list)


class Trend(Struct, kw_only=True):
    """All results of a folder."""

    schema: int = 1
    groups: list[Experiment]
    damaged: list[str]
