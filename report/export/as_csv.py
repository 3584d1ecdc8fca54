"""CSV (RFC 4180, UTF-8): the flat table, with a heading. Empty means not had, never 0."""

import csv
import io

from measure.result import Result
from report.export import flat


def render(result: Result) -> bytes:
    """The whole file."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, flat.COLUMNS)
    writer.writeheader()
    writer.writerows(flat.rows(result))
    return out.getvalue().encode()
