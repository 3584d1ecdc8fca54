"""Put the tables of the reference results into README.md, between their marks (`make readme`).

    <!-- table: NAME -->   ...   <!-- end -->

takes what `pagedbench` prints of results/reference/NAME/result.json. With --check nothing is
written, and a README that is not current is an error: a test runs that.
"""

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from report import canonical, table

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
REFERENCE = ROOT / "results" / "reference"
MARKED = re.compile(r"(<!-- table: ([\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 112


def filled(text: str) -> str:
    """Return the text with every marked table made anew."""
    return MARKED.sub(lambda found: found[1] + _table(found[2]) + found[3], text)


def _table(name: str) -> str:
    result = canonical.loads(REFERENCE / name / "result.json")
    out = io.StringIO()
    table.render(result, Console(file=out, width=WIDTH, color_system=None))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    return "```text\n" + "\n".join(lines).strip("\n") + "\n```\n"


def main() -> None:
    text = README.read_text(encoding="utf-8")
    current = filled(text)
    if "--check" in sys.argv and current != text:
        sys.exit("README.md: tables are not those of results/reference: run `make readme`")
    README.write_text(current, encoding="utf-8")


if __name__ == "__main__":
    main()
