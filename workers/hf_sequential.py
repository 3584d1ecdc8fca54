"""hf-sequential: Transformers' generate with its default dynamic cache, one request at a time.

The cache grows by one token a step: nothing is held ahead, and nothing else can run beside it.
"""

from workers.hf_rows import RowsWorker


class Worker(RowsWorker):
    """One request after another, on a cache made anew for each."""

    kind = "dynamic"
