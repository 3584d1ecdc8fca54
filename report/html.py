"""report.html: one page that needs no network: data, style and plot library are inside it.

The plot library and the data are packed (gzip, base64) and unpacked by the browser, which keeps
the page far below the library's own size. Everything from outside is text: Jinja escapes what is
in the page, packing hides the data from the HTML parser, and the scripts only ever set text.
"""

import base64
import gzip
from functools import cache
from importlib.resources import files
from pathlib import Path

import jinja2
from markupsafe import Markup

from report import changes, view
from report.scene import Exhibit, encoded, scene

SCRIPTS = (
    "theme",
    "plots",
    "memory",
    "kv",
    "panel",
    "blocks",
    "policies",
    "speed",
    "requests",
    "main",
)
SECTIONS = (
    ("headline", "Headline"),
    ("comparison", "Side by side"),
    ("memory-section", "Memory"),
    ("ledger-section", "Ledger"),
    ("kv-section", "KV cache"),
    ("blocks-section", "Block map"),
    ("speed-section", "Speed"),
    ("requests-section", "Requests"),
    ("checks", "Checks"),
    ("environment", "Environment"),
)


def render(exhibits: list[Exhibit], docs: str | None = None) -> str:
    """The whole page. `docs` is where its links to the documentation lead, if anywhere."""
    results = [shown.result for shown in exhibits]
    titles = list(dict.fromkeys(map(view.title, results)))
    names = f"{' and '.join(shown.name for shown in exhibits)}: " if len(exhibits) > 1 else ""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(_file("page.html.j2"))
    return page.render(
        title=names + " / ".join(titles),
        about=[(shown.name, view.about(shown.result)) for shown in exhibits],
        changes=changes.changes(*results) if len(results) == 2 else None,
        device=results[0].device,
        sections=SECTIONS,
        views=[view.result_view(shown.result, shown.name) for shown in exhibits],
        docs=docs,
        css=Markup(_file("page.css")),
        js=Markup("\n".join(_file(f"{name}.js") for name in SCRIPTS)),
        plotly=_plotly(),
        data=_pack(encoded(scene(exhibits))),
    )


def _file(name: str) -> str:
    return (files("report.page") / name).read_text(encoding="utf-8")


def _pack(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return _pack(_called_at_once(get_plotlyjs()).encode())


def _called_at_once(script: str) -> str:
    """The library with its one big function in parentheses, where it looks as we know it.

    That tells the browser that the function is called at once. Without it the browser first only
    looks for the function's end, and reads its five megabytes a second time when it is called:
    nearly 0.2 s of the page's opening.
    """
    head, tail = ": this, () => {", "}));"
    body = script.rstrip()
    if body.count(head) != 1 or not body.endswith(tail):
        return script
    return f"{body.replace(head, ': this, (() => {').removesuffix(tail)}}})));\n"


def docs_link(folder: Path) -> str | None:
    """Where the documentation is, seen from a run folder inside the repository."""
    for up, parent in enumerate(folder.resolve().parents, start=1):
        if (parent / "docs" / "numbers.md").is_file():
            return "/".join([".."] * up + ["docs"])
    return None
