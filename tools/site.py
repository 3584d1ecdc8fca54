"""Make a folder that can be published as it is: the reports of all reference results, and a list.

python -m tools.site [FOLDER]     what `make site` runs; FOLDER is `site`
"""

import shutil
import sys
from pathlib import Path

from jinja2 import Environment

from report import canonical, figures, html
from report.build import Run
from report.result import Result
from report.scene import Entry

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>pagedbench: reference results</title>
<style>
 :root { color-scheme: light dark } body { font: 1rem/1.6 system-ui; max-width: 46rem;
 margin: 3rem auto; padding: 0 1rem } img { max-width: 100%; background: #fff }
</style>
<h1>pagedbench: reference results</h1>
<p>Where the memory of LLM inference goes, and what PagedAttention changes.</p>
{% for name, result in results %}
<h2><a href="{{ name }}/report.html">{{ name }}</a></h2>
<p>{{ result.model.name }}, {{ result.dtype }}, {{ result.suite.about }};
 {{ result.environment.gpus[0].name if result.environment.gpus else result.environment.cpu.model }}
</p>
{% endfor %}
</html>
"""


def build(out: Path) -> None:
    """Render every reference result that has its traces into `out`, which is made anew."""
    shutil.rmtree(out, ignore_errors=True)
    results: list[tuple[str, Result]] = []
    for folder in sorted(path.parent for path in REFERENCE.glob("*/result.json")):
        result, run = canonical.loads(folder / "result.json"), Run(folder)
        target = out / folder.name
        target.mkdir(parents=True)
        (target / "report.html").write_text(html.render([Entry(result, run)]), encoding="utf-8")
        figures.render(result, folder, target, run)
        shutil.copy(folder / "result.json", target)
        results.append((folder.name, result))
    page = Environment(autoescape=True).from_string(PAGE)
    (out / "index.html").write_text(page.render(results=results), encoding="utf-8")
    print(f"site: {len(results)} reports in {out}")


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "site")
