"""The language pairs of the sentences in a batch, for tasks with several pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from fairseq.data import BaseWrapperDataset
from torch import Tensor

from ..errors import UserError

#: A sentence's id in a batch of `translation_multi_simple_epoch` is its index in the data of its pair, plus this number
#: times the number of the pair.
STRIDE = 2**40


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


class Numbered(BaseWrapperDataset):
    """The data of a language pair, with the number of the pair in the sentences' ids."""

    def __init__(self, dataset: Any, number: int):
        super().__init__(dataset)
        self.number = number

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.dataset[index]
        return {**example, "id": example["id"] + self.number * STRIDE}

    def collater(self, samples: Any, **more: Any) -> Any:
        return self.dataset.collater(samples, **more)


class PairsOfBatch:
    """Let batches of a `translation_multi_simple_epoch` task tell the pair of each sentence.

    fairseq passes nothing but a sentence's id on from the data of a pair, and a language token may be that of several
    pairs. The method of this task object that loads the data of a pair is wrapped, so decoding is not affected.
    """

    def __init__(self, task: Any, pairs: list[str]):
        options = task.args
        for option in ("extra_data", "extra_lang_pairs"):
            if found := getattr(options, option, None):
                raise UserError(
                    f"--{option.replace('_', '-')} {found}: teachers of language pairs need the data of --lang-pairs "
                    f"alone. Leave --{option.replace('_', '-')} out"
                )
        if options.left_pad_target:
            raise UserError(
                "--left-pad-target True: teachers of language pairs need padding on the right. Leave it out"
            )
        self._number = {pair: number for number, pair in enumerate(pairs)}
        manager = task.data_manager
        load = manager.load_a_dataset

        def load_numbered(*args: Any, src: str, tgt: str, **more: Any) -> Numbered:
            return self._numbered(load(*args, src=src, tgt=tgt, **more), f"{src}-{tgt}")

        manager.load_a_dataset = load_numbered
        for split in task.datasets.values():  # loaded before the criterion was built
            split.datasets = list(map(self._numbered, split.datasets, task.lang_pairs))

    def _numbered(self, dataset: Any, pair: str) -> Numbered:
        inside = dataset.dataset if isinstance(dataset, Numbered) else dataset  # of another criterion
        return Numbered(inside, self._number.get(pair, len(self._number)))


def split_ids(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of each sentence's pair, and its index in the data of the pair, `[B]` int64 each."""
    return torch.div(ids, STRIDE, rounding_mode="floor"), ids % STRIDE
