"""A teacher with a vocabulary of its own, cached for students with another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..losses import TopK
from .forced import distributions
from .online import OnlineTeacher
from .respelling import MARK, Respelling, Vocabulary
from .top_k import TeacherTopK


class RespelledTopK(TeacherTopK):
    """The best classes of a student's vocabulary, from a teacher that reads the same sentences in its own pieces."""

    def __init__(
        self,
        teacher: OnlineTeacher,
        task: Any,
        dataset: Any,
        student_task: Any,
        student_dataset: Any,
        k: int,
        like: Tensor,
        max_tokens: int,
    ):
        """As `TeacherTopK`; `task` and `dataset` are the teacher's.

        Raises:
            UserError: if the datasets are not the same text, or their pieces are not SentencePiece's.
        """
        super().__init__(teacher, task, dataset, k, 1.0, like, max_tokens)
        if len(dataset) != len(student_dataset):
            raise UserError(
                f"--teacher-text has {len(dataset):,} sentences, DATA has {len(student_dataset):,}: expected the same "
                "sentences in the teacher's and in the student's pieces"
            )
        self.student = student_dataset
        vocabularies = [_vocabulary(each.target_dictionary) for each in (task, student_task)]
        numbers = tqdm(range(len(dataset)), "words", unit=" sentences", unit_scale=True, delay=2, disable=None)
        pieces = ((_pieces(dataset, i), _pieces(student_dataset, i)) for i in numbers)
        self.respelling = Respelling.read(vocabularies[0], vocabularies[1], pieces)

    @torch.no_grad()
    def _begin(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, TopK]:
        sample, keep = self._collate(ids)
        counts = keep.sum(1)
        with self._memory():
            net_input, rows = self._there(sample, keep)
            parts = [each.cpu() for each, _ in distributions(self.teacher, net_input, rows, self.like)]
        sentences = sample["id"][counts > 0].numpy()
        found = []
        for sentence, given in zip(sentences, torch.cat(parts).split(counts[counts > 0].tolist()), strict=True):
            ours, theirs = _pieces(self.dataset, sentence), _pieces(self.student, sentence)
            found.append(_best(*self.respelling(given.exp(), ours, theirs), self.k))
        return ids, sentences, TopK(*map(torch.cat, zip(*found, strict=True)))


def _vocabulary(dictionary: Any) -> Vocabulary:
    found = Vocabulary(dictionary.symbols, dictionary.nspecial)
    if not any(map(found.begins_word, found.index.values())):
        raise UserError(
            f"--teacher-text needs SentencePiece's pieces on both sides: none of {len(found.index):,} target pieces "
            f"begins with {MARK}. Distil at sequence level instead: lskd translate, then lskd select"
        )
    return found


def _pieces(dataset: Any, sentence: int) -> list[int]:
    """Return a sentence's target without its end-of-sentence token."""
    return dataset.tgt[int(sentence)].tolist()[:-1]


def _best(probabilities: Tensor, rest: Tensor, k: int) -> TopK:
    """Return the `TopK` of `[S, W]` probabilities and a rest `[S]`; no teacher where no class has any."""
    values, ids = probabilities.topk(k, dim=-1)
    left = probabilities.scatter(-1, ids, 0).sum(-1) + rest
    nothing = values[:, 0] == 0
    log_probs = values.log().masked_fill(nothing.unsqueeze(-1), 0)
    return TopK(ids.masked_fill(nothing.unsqueeze(-1), 0), log_probs, left.log().masked_fill(nothing, torch.nan))
