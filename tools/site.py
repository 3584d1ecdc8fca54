"""Make a folder that can be published as it is: the reports of all reference results, and a list.

`make site` runs it.
"""

import shutil
from pathlib import Path

import click
from jinja2 import Environment

from measure import canonical
from measure.build import Run
from measure.result import Result
from report import figures, html
from report.scene import Exhibit

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
TITLE = "pagedbench: reference results"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
 :root { color-scheme: light dark } body { font: 1rem/1.6 system-ui; max-width: 46rem;
 margin: 3rem auto; padding: 0 1rem } img { max-width: 100%; background: #fff }
</style>
<h1>{{ title }}</h1>
<p>Where the memory of LLM inference goes, and what PagedAttention changes.</p>
{% for name, result in results %}
<h2><a href="{{ name }}/report.html">{{ name }}</a></h2>
<p>{{ result.model.name }}, {{ result.dtype }}, {{ result.suite.about }};
 {{ result.environment.gpus[0].name if result.environment.gpus else result.environment.cpu.model }}
</p>
<p><img src="{{ name }}/waste.svg" alt="Share of held KV slots by cause, per backend"></p>
{% endfor %}
</html>
"""


@click.command(help=__doc__)
@click.argument("out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "site")
def main(out: Path) -> None:
    """Render every reference result into `out`, which is made anew if it was made by this."""
    index = out / "index.html"
    if out.exists() and not (index.is_file() and TITLE in index.read_text(encoding="utf-8")):
        raise click.UsageError(f"{out} is there, and is no site of ours: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    results: list[tuple[str, Result]] = []
    for folder in sorted(path.parent for path in REFERENCE.glob("*/result.json")):
        result, run = canonical.loads(folder / "result.json"), Run(folder)
        target = out / folder.name
        target.mkdir(parents=True)
        (target / "report.html").write_text(html.render([Exhibit(result, run)]), encoding="utf-8")
        figures.write(result, folder, target, run)
        shutil.copy(folder / "result.json", target)
        results.append((folder.name, result))
    page = Environment(autoescape=True).from_string(PAGE)
    index.write_text(page.render(results=results, title=TITLE), encoding="utf-8")
    click.echo(f"site: {len(results)} reports in {out}")


if __name__ == "__main__":
    main()
