"""Put the tables and figures of the reference results into README.md (`make readme`).

    <!-- table: NAME -->   ...   <!-- end -->

takes what `pagedbench` prints of results/reference/NAME/result.json; a test holds the README
to it. The figures are drawn into docs/figures.
"""

import io
import re
from pathlib import Path

from rich.console import Console

from measure import canonical
from report import figures, table

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
REFERENCE = ROOT / "results" / "reference"
MARKED = re.compile(r"(<!-- table: ([\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 96
PICTURED = "equal-budget-h100"


def filled(text: str) -> str:
    """Return the text with every marked table made anew."""
    return MARKED.sub(lambda found: found[1] + _table(found[2]) + found[3], text)


def _table(name: str) -> str:
    result = canonical.loads(REFERENCE / name / "result.json")
    out = io.StringIO()
    table.show(result, Console(file=out, width=WIDTH, color_system=None))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


def main() -> None:
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    source = REFERENCE / PICTURED
    figures.write(canonical.loads(source / "result.json"), source, ROOT / "docs" / "figures")


if __name__ == "__main__":
    main()
