"""The language pair of the current batch, for tasks with several pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PairOfBatch:
    """Record the language pair of the current batch of a `multilingual_translation` task in `pair`.

    The task gives the criterion one batch and one pair's model at a time, but passes the pair's name only to its own
    methods. The methods of this task object are wrapped to record the name.
    """

    def __init__(self, task: Any):
        self.pair = ""
        for name in ("_per_lang_pair_train_loss", "_per_lang_pair_valid_loss"):
            setattr(task, name, self._recording(getattr(task, name)))

    def _recording(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def recording(lang_pair: str, *args: Any, **kwargs: Any) -> Any:
            self.pair = lang_pair
            return method(lang_pair, *args, **kwargs)

        return recording
