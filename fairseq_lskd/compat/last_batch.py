"""The last batch is thrown away: fairseq's last main branch, and the builds on the package index that were made of it.

Their ``batch_by_size`` leaves out the last batch unless its size is a multiple of ``--required-batch-size-multiple``
(8): sentences of a test set get no translation, validation is of a part, and small data are "empty".
"""

from __future__ import annotations

import functools
import sys
from typing import Any

NAME = "last-batch"
NEEDED_BY = "the last sentences get no training, validation or translation (fairseq's main branch, and builds of it)"
MODULE = "fairseq.data.data_utils"
MODULES: tuple[str, ...] = (MODULE,)
WHEN = "after"


def needed() -> bool:
    """Whether a single sentence, which is no multiple of 8, gets no batch."""
    import numpy

    try:
        batches = sys.modules[MODULE].batch_by_size(numpy.arange(1), lambda i: 1, required_batch_size_multiple=8)
    except ImportError:  # the compiled part is missing, without which there are no batches at all
        return False
    return not sum(map(len, batches))


def apply() -> None:
    """Have ``batch_by_size`` give the sentences back that it left out: they are the last of those it was given."""
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
