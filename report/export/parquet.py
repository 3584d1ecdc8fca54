"""Parquet: the flat table with types, for which the `parquet` extra brings pyarrow."""

import io

from compare.metrics import METRICS
from measure.result import Result
from report.export import flat
from traces.errors import Problem

WHOLE = ("repeat", "requests_run", "output_tokens")


def render(result: Result) -> bytes:
    """The whole file. Raises Problem where pyarrow is not installed."""
    try:
        import pyarrow as pa  # large, and wanted for this format only
        from pyarrow import parquet
    except ImportError:
        raise Problem("parquet needs pyarrow: pip install 'pagedbench[parquet]'") from None
    types = dict.fromkeys(flat.ABOUT, pa.string()) | dict.fromkeys(WHOLE, pa.int64())
    types |= {"dirty": pa.bool_()} | {metric.name: pa.float64() for metric in METRICS}
    schema = pa.schema([(name, types[name]) for name in flat.COLUMNS])
    out = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(flat.rows(result)), schema=schema), out)
    return out.getvalue()
