"""``fairseq-score --sacrebleu``: fairseq 0.12 on sacreBLEU 2.

``fairseq_cli.score`` passes two open files to ``sacrebleu.corpus_bleu``, but sacreBLEU 2 needs lists ("Each element of
`refs` should be a sequence of strings").
"""

from __future__ import annotations

import functools
import io
import sys
from typing import Any

NAME = "score-files"
NEEDED_BY = 'fairseq-score --sacrebleu fails on sacreBLEU >= 2 ("should be a sequence of strings")'
MODULES: tuple[str, ...] = ("sacrebleu",)
WHEN = "after"


def scoring() -> bool:
    """Whether this process is ``fairseq-score``."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    return "fairseq_cli.score" in sys.modules or getattr(main, "name", "") == "fairseq_cli.score"


def needed() -> bool:
    """Whether this process is ``fairseq-score`` and sacreBLEU refuses files."""
    if not scoring():
        return False
    import sacrebleu

    line = "the one line of a file"
    try:
        # Files in place of lists, on purpose.
        sacrebleu.corpus_bleu(io.StringIO(line), [io.StringIO(line)])  # type: ignore[arg-type, list-item]
    except TypeError:
        return True
    return False


def lines(text: Any) -> Any:
    """Return the lines of an open file; return anything else unchanged."""
    return [line.rstrip("\n") for line in text] if isinstance(text, io.TextIOBase) else text


def apply() -> None:
    import sacrebleu

    original = sacrebleu.corpus_bleu
    if getattr(original, "reads_files", False):
        return

    @functools.wraps(original)
    def corpus_bleu(hypotheses: Any, references: Any, *args: Any, **kwargs: Any) -> Any:
        return original(lines(hypotheses), [lines(text) for text in references], *args, **kwargs)

    corpus_bleu.reads_files = True  # type: ignore[attr-defined]  # a mark on a function
    sacrebleu.corpus_bleu = corpus_bleu
