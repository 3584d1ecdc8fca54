"""The pages of a run: report.md and report.html, written into its folder."""

from pathlib import Path

from measure.build import Run, build
from measure.result import Result
from report import html, markdown
from report.scene import Exhibit


def write(folder: Path, result: Result, run: Run | None = None) -> list[Path]:
    """Render and write both; returns what was written. Reads the traces unless given the run."""
    exhibit = Exhibit(result, run or Run(folder))
    page = html.render([exhibit], html.docs_link(folder))
    return [
        _write(folder / "report.md", markdown.render(result)),
        _write(folder / "report.html", page),
    ]


def overlay(base: Path, head: Path, names: tuple[str, str], out: Path) -> Path:
    """Two runs in one page, `base` drawn in full lines and `head` dotted.

    A path among the names is cut to its last part, where that still tells the two apart.
    """
    runs = [Run(folder) for folder in (base, head)]
    last = [Path(name).name or name for name in names]
    shown = last if last[0] != last[1] else names
    exhibits = [
        Exhibit(build(run.folder, run=run), run, name)
        for run, name in zip(runs, shown, strict=True)
    ]
    return _write(out, html.render(exhibits, html.docs_link(out.parent)))


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", errors="replace")  # lone surrogates cannot be UTF-8
    return path
