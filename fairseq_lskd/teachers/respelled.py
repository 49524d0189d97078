"""Teachers with vocabularies of their own, cached for students with another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import UserError
from ..losses import MEAN, Mixture, TopK
from .forced import ForcedTeacher, TeacherForcing, distributions
from .respelling import MARK, Masses, Respelling, Vocabulary
from .top_k import check_not_nan


class Text(NamedTuple):
    """Sentences as one side reads them."""

    folder: str
    task: Any  #: fairseq's, with the dictionaries
    dataset: Any


class Reader(TeacherForcing):
    """A teacher that reads a student's sentences in its own pieces, or in the student's."""

    def __init__(self, teacher: ForcedTeacher, text: Text, student: Text, like: Tensor, max_tokens: int):
        """As `TeacherForcing`, for `text`. If it is `student` itself, distributions stay as they are.

        Raises:
            UserError: if the texts differ in the number of sentences, or their pieces are not SentencePiece's.
        """
        super().__init__(teacher, text.task, text.dataset, like, max_tokens)
        if len(text.dataset) != len(student.dataset):
            raise UserError(
                f"--teacher-text {text.folder} has {len(text.dataset):,} sentences, DATA has "
                f"{len(student.dataset):,}: expected the same sentences in the teacher's and in the student's pieces"
            )
        self.text, self.student = text, student
        self.vocabularies = None if text is student else (_vocabulary(text), _vocabulary(student))
        self.respelling: Respelling | None = None  #: made by `prepare`; None if distributions stay as they are

    def prepare(self) -> None:
        """Collect the words of the text.

        Raises:
            UserError: if it is not the student's text.
        """
        if self.vocabularies is None:
            return
        ids = tqdm(range(len(self.dataset)), "words", unit=" sentences", unit_scale=True, delay=2, disable=None)
        pieces = ((_pieces(self.dataset, i), _pieces(self.student.dataset, i)) for i in ids)
        self.respelling = Respelling.read(*self.vocabularies, pieces, f"--teacher-text {self.text.folder}")

    @torch.no_grad()
    def read(self, ids: np.ndarray) -> dict[int, Tensor]:
        """Run the teacher on one batch: log-probabilities `[T, V]` of each sentence with a teacher, on the CPU."""
        sample, keep = self._collate(ids)
        counts = keep.sum(1)
        with self._memory():
            net_input, rows = self._there(sample, keep)
            parts = [each.cpu() for each, _ in distributions(self.teacher, net_input, rows, self.like)]
        there = counts > 0
        return dict(zip(sample["id"][there].tolist(), torch.cat(parts).split(counts[there].tolist()), strict=True))

    def read_all(self, ids: np.ndarray) -> dict[int, Tensor]:
        """As `read`, in as many batches as it takes."""
        return {sentence: found for batch in self.batches(ids) for sentence, found in self.read(batch).items()}

    def respell(self, sentence: int, log_probs: Tensor | None) -> Tensor:
        """Return the probabilities of the student's types and, last, of the rest, `[S, W + 1]`.

        Args:
            log_probs: `[T, V]` from `read`; None if the sentence has no teacher.
        """
        if log_probs is None:
            length, width = self.student.dataset.tgt_sizes[sentence], len(self.student.task.target_dictionary)
            return torch.zeros(int(length), width + 1)
        if self.respelling is None:
            return torch.cat([log_probs.exp(), log_probs.new_zeros(len(log_probs), 1)], 1)
        ours, theirs = _pieces(self.dataset, sentence), _pieces(self.student.dataset, sentence)
        found, rest = self.respelling(log_probs.exp(), ours, theirs)
        return torch.cat([found, rest.unsqueeze(1)], 1)


class RespelledTopK:
    """The best types of a student's vocabulary, from one or more teachers, each of which reads its own pieces.

    Distributions are mixed over all of the student's types, before the best are taken.
    """

    def __init__(self, readers: Sequence[Reader], k: int, mixture: Mixture = MEAN):
        """Collect the words of the texts, which takes a pass over each.

        Raises:
            UserError: if a text is not the student's.
        """
        self.readers, self.k, self.mixture = list(readers), k, mixture
        for reader in self.readers:
            reader.prepare()

    @property
    def limits(self) -> tuple[int, ...]:
        """The most tokens of a source and of a target in the pieces of each teacher: the least of all teachers."""
        return tuple(map(min, zip(*(reader.limits for reader in self.readers), strict=True)))

    @property
    def masses(self) -> list[tuple[str, Masses]]:
        """The names of the teachers whose distributions were respelled, and what became of their probabilities."""
        named = ((":".join(reader.teacher.names), reader.respelling) for reader in self.readers)
        return [(name, each.masses) for name, each in named if each is not None]

    def count_anew(self) -> None:
        """Forget what `masses` has counted."""
        for reader in self.readers:
            if reader.respelling is not None:
                reader.respelling.masses = Masses()

    def too_long(self) -> int:
        """Return the number of sentences that are too long for a teacher."""
        count = len(self.readers[0].dataset)
        return count - len(self.short_enough(np.arange(count)))

    def short_enough(self, ids: np.ndarray) -> np.ndarray:
        for reader in self.readers:
            ids = reader.short_enough(ids)
        return ids

    def batches(self, ids: np.ndarray) -> list[np.ndarray]:
        """Return batches of sentences as the first teacher reads them, without those that are too long for any."""
        return self.readers[0].batches(self.short_enough(ids))

    def infer(self, ids: np.ndarray) -> tuple[np.ndarray, TopK]:
        """Return the sentences of one batch in the order of their tokens, and the best types of the tokens.

        Raises:
            UserError: if a teacher's probabilities are NaN, or the GPU's memory is too small.
        """
        first, *others = self.readers
        given = [first.read(ids), *(reader.read_all(ids) for reader in others)]
        sentences = [i for i in ids.tolist() if any(i in each for each in given)]
        found = []
        for i in sentences:
            parts = [reader.respell(i, each.get(i)) for reader, each in zip(self.readers, given, strict=True)]
            found.append(best(self.mixture.mix_known(parts), self.k))
        result = TopK(*map(torch.cat, zip(*found, strict=True))) if found else _nothing(self.k)
        check_not_nan(result, ids)
        return np.array(sentences, dtype=np.int64), result

    def infer_all(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, TopK]]:
        """Yield the result of `infer` for each batch."""
        return map(self.infer, batches)


def best(probabilities: Tensor, k: int) -> TopK:
    """Return the `TopK` of `[S, W + 1]` probabilities, the last of the rest; no teacher where no type has any."""
    types, rest = probabilities[:, :-1], probabilities[:, -1]
    values, ids = types.topk(k, dim=-1)
    left = types.scatter(-1, ids, 0).sum(-1) + rest
    nothing = values[:, 0] == 0
    log_probs = values.log().masked_fill(nothing.unsqueeze(-1), 0)
    return TopK(ids.masked_fill(nothing.unsqueeze(-1), 0), log_probs, left.log().masked_fill(nothing, torch.nan))


def _nothing(k: int) -> TopK:
    return TopK(torch.zeros(0, k, dtype=torch.int64), torch.zeros(0, k), torch.zeros(0))


def _vocabulary(text: Text) -> Vocabulary:
    dictionary = text.task.target_dictionary
    found = Vocabulary(dictionary.symbols, dictionary.nspecial)
    if not any(map(found.begins_word, found.index.values())):
        raise UserError(
            f"--teacher-text needs SentencePiece's pieces on both sides: none of the {len(found.index):,} target "
            f"pieces of {text.folder} begins with {MARK}. Distil at sequence level instead: lskd translate, then lskd "
            "select"
        )
    return found


def _pieces(dataset: Any, sentence: int) -> list[int]:
    """Return a sentence's target without its end-of-sentence token."""
    return dataset.tgt[int(sentence)].tolist()[:-1]
