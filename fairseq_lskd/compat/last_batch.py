"""The last batch is dropped: fairseq's main branch, and builds of it on the package index.

Their ``batch_by_size`` drops the last batch unless its size is a multiple of ``--required-batch-size-multiple`` (8). So
some sentences of a test set are not translated, validation is incomplete, and a small data set counts as empty.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

NAME = "last-batch"
NEEDED_BY = "the last sentences are left out of training, validation and translation (main branch, and builds of it)"
MODULE = "fairseq.data.data_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether a single sentence, with a multiple of 8 required, gets no batch."""
    import numpy

    try:
        batches = sys.modules[MODULE].batch_by_size(numpy.arange(1), lambda i: 1, required_batch_size_multiple=8)
    except ImportError:  # without the compiled part of fairseq there are no batches at all
        return False
    return not sum(map(len, batches))


def apply() -> None:
    """Make ``batch_by_size`` add a batch with the dropped sentences, which are the last in its input."""
    module: Any = sys.modules[MODULE]
    original = module.batch_by_size
    if getattr(original, "keeps_all", False):
        return

    @functools.wraps(original)
    def batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> Any:
        import numpy

        if not isinstance(indices, numpy.ndarray):
            indices = numpy.fromiter(indices, dtype=numpy.int64, count=-1)
        batches = original(indices, *args, **kwargs) if len(indices) else []
        missing = len(indices) - sum(map(len, batches))
        return [*batches, indices[len(indices) - missing :]] if missing else batches

    batch_by_size.keeps_all = True  # type: ignore[attr-defined]  # a mark on a function
    module.batch_by_size = batch_by_size
