"""Of which language pair a batch is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PairOfBatch:
    """The pair of the batch in work, of a task that hands batches of one pair to the criterion one after the other.

    Such a task, `multilingual_translation`, gives the criterion a part of the model and a batch, and says the pair to
    its own methods only. They are watched, on this one task; nothing else of them changes.
    """

    def __init__(self, task: Any):
        self.pair = ""
        for name in ("_per_lang_pair_train_loss", "_per_lang_pair_valid_loss"):
            setattr(task, name, self._noted(getattr(task, name)))

    def _noted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(lang_pair: str, *args: Any, **kwargs: Any) -> Any:
            self.pair = lang_pair
            return method(lang_pair, *args, **kwargs)

        return noted
