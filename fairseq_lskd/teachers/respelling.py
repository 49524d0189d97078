"""A teacher's probabilities of its own pieces, as probabilities of a student's pieces of the same text.

Both vocabularies spell the same words, and a SentencePiece model without pieces across words spells each word in one
way. So the next piece of either side depends on which word comes next, or how the word that was begun goes on. At each
of the student's positions, the teacher's distribution at its own last boundary gives a probability to each of its
pieces, and each of these allows some words of the training text. Where all of them continue with the same piece of the
student, that piece gets the probability. Where they do not, it is divided in proportion to the words' frequencies.

The result is the student's next-piece distribution given both spellings of what came before. Its parts:

- exact: the teacher's piece determines the student's;
- divided: the frequencies of words decide;
- rest: the word may end inside the teacher's last piece, so only a piece after it would tell which word comes next.
  This mass belongs to no piece; a teacher cache counts it with the rest that its top k leave over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ..reading import shown

MARK = "\u2581"  #: begins the first piece of each word
ENDED = -1  #: in place of a student's piece: the word ends here

STATES = 200_000  #: kept at a time, about a kilobyte each

Pieces = tuple[int, ...]


class Vocabulary:
    """The pieces of a dictionary, by index.

    Args:
        symbols: all of them, with the special symbols at their places.
        special: the number of special symbols at the beginning, with the end-of-sentence token.
    """

    def __init__(self, symbols: Sequence[str], special: int = 4):
        self.symbols, self.special = list(symbols), special
        self.index = {symbol: index for index, symbol in enumerate(self.symbols) if index >= special}
        self._sorted = sorted(self.index)

    def begins_word(self, index: int) -> bool:
        return self.symbols[index].startswith(MARK)

    def words(self, pieces: Sequence[int]) -> list[Pieces]:
        """Group the pieces of a sentence, without its end-of-sentence token, into words."""
        found: list[list[int]] = []
        for piece in pieces:
            if not found or self.begins_word(piece):
                found.append([])
            found[-1].append(piece)
        return [tuple(word) for word in found]

    def spell(self, pieces: Sequence[int]) -> str:
        return "".join(self.symbols[piece] for piece in pieces)

    def longest_prefix(self, text: str) -> int | None:
        """Return the longest piece that `text` begins with."""
        return next((self.index[text[:n]] for n in range(len(text), 0, -1) if text[:n] in self.index), None)

    def beginning_with(self, text: str) -> list[int]:
        """Return the pieces that are longer than `text` and begin with it."""
        first = bisect_left(self._sorted, text)
        last = bisect_left(self._sorted, text + chr(0x10FFFF))
        return [self.index[piece] for piece in self._sorted[first:last] if piece != text]


class _State(NamedTuple):
    """How the teacher's pieces become the student's at one place in a word."""

    aligned: bool  #: both have a boundary here
    new_word: bool  #: whether a new word may follow
    known: Tensor  #: [n] int64, the teacher's pieces that words of the text have here, compatible or not
    teacher: Tensor  #: [e] int64, and the student's pieces `[e]` (`ENDED` for the end of the word), and shares `[e]`
    student: Tensor
    share: Tensor


@dataclass
class Masses:
    """Sums over positions of the teacher's probability, by what became of it."""

    positions: int = 0
    without_teacher: int = 0  #: positions without any compatible piece
    divided: float = 0.0
    rest: float = 0.0
    dropped: float = 0.0  #: of pieces that contradict the student's context; the others are scaled up

    def add(self, mixed: Tensor, total: Tensor, divided: float) -> None:
        """Count a sentence: `[S, W + 1]`, whose last column is the rest, its sums `[S, 1]`, and the divided mass."""
        self.positions += len(mixed)
        self.without_teacher += int((total == 0).sum())
        self.divided += divided
        self.rest += float(mixed[:, -1].sum())
        self.dropped += float((1 - total)[total > 0].clamp(min=0).sum())

    def __str__(self) -> str:
        shares = {
            "divided by the words' frequencies": self.divided,
            "left to the rest": self.rest,
            "dropped, as it contradicts the student's context": self.dropped,
        }
        with_teacher = max(1, self.positions - self.without_teacher)
        parts = [f"{value / with_teacher:.2%} {what}" for what, value in shares.items()]
        return (
            f"the teacher's mass at {with_teacher:,} positions: {'; '.join(parts)}; the other part is exact. "
            f"{self.without_teacher / max(1, self.positions):.2%} of the positions have no teacher"
        )


class Respelling:
    """The map from a teacher's pieces to a student's, made from the words of a text.

    Args:
        teacher: the teacher's target vocabulary.
        student: the student's.
        words: each word of the text, spelled by both, and how often it occurs.
    """

    def __init__(self, teacher: Vocabulary, student: Vocabulary, words: Counter[tuple[Pieces, Pieces]]):
        if teacher.special != student.special:
            raise ValueError("both dictionaries need the same special symbols")
        self.teacher, self.student = teacher, student
        self.masses = Masses()
        self._spelling = {teacher.spell(ours): theirs for ours, theirs in words}
        places: set[tuple[Pieces, Pieces]] = {((), ())}
        for ours, theirs in words:
            for k in range(1, len(theirs) + 1):
                places.add((ours[: self._boundary(ours, theirs[:k])], theirs[:k]))
        self._totals: defaultdict[Pieces, Counter[int]] = defaultdict(Counter)
        self._counts: dict[tuple[Pieces, Pieces], Counter[tuple[int, int]]] = {place: Counter() for place in places}
        for word, count in words.items():
            self._count(word, count)
        specials = torch.arange(teacher.special)
        inside = [i for i in teacher.index.values() if not teacher.begins_word(i)]
        self._inside, self._inside_student = self._fallback((i, teacher.symbols[i]) for i in inside)
        first = self._counts[(), ()]
        begun = [i for i in teacher.index.values() if teacher.begins_word(i) and i not in self._totals[()]]
        fallback, fallback_student = self._fallback((i, teacher.symbols[i]) for i in begun)
        entries, shares = self._entries(first, self._totals[()])
        #: From pieces that begin a word, and the special symbols, which stay what they are.
        self._new_teacher = torch.cat([specials, entries[:, 0], fallback])
        self._new_student = torch.cat([specials, entries[:, 1], fallback_student])
        self._new_share = torch.cat([torch.ones(len(specials)), shares, torch.ones(len(fallback))])
        self._states: dict[tuple[Pieces, Pieces], _State] = {}

    @staticmethod
    def read(
        teacher: Vocabulary,
        student: Vocabulary,
        sentences: Iterable[tuple[Sequence[int], Sequence[int]]],
        name: str = "--teacher-text",
    ) -> Respelling:
        """Collect the words of a text.

        Args:
            sentences: the pieces of each sentence in both spellings, without end-of-sentence tokens.
            name: of the teacher's text in messages.

        Raises:
            UserError: if more than one in twenty sentences is not the same text in both.
        """
        words: Counter[tuple[Pieces, Pieces]] = Counter()
        number, others, example = 0, 0, ""
        for number, (ours, theirs) in enumerate(sentences, 1):
            if (pairs := paired(teacher, student, ours, theirs)) is None:
                others += 1
                texts = (shown(side.spell(pieces)) for side, pieces in ((teacher, ours), (student, theirs)))
                example = example or f"sentence {number}: {' and '.join(texts)}"
                continue
            words.update(pairs)
        if 20 * others > number:
            raise UserError(
                f"{name}: {others:,} of {number:,} sentences are other text there than in DATA ({example}). "
                "Both need the same lines, in pieces of SentencePiece models with the same normalisation"
            )
        return Respelling(teacher, student, words)

    def _boundary(self, ours: Pieces, begun: Pieces) -> int:
        """Return how many of the teacher's pieces of a word end in what the student has spelled of it."""
        end = len(self.student.spell(begun))
        return sum(place <= end for place in _ends(self.teacher, ours)) - 1

    def _count(self, word: tuple[Pieces, Pieces], count: int) -> None:
        """Count what follows after each of the student's pieces, by each of the teacher's that begins before."""
        ours, theirs = word
        ends = _ends(self.teacher, ours)
        for m, piece in enumerate(ours):
            self._totals[ours[:m]][piece] += count
        for k, end in enumerate(_ends(self.student, theirs)):
            follows = theirs[k] if k < len(theirs) else ENDED
            for m, piece in enumerate(ours):
                if ends[m] <= end and (found := self._counts.get((ours[:m], theirs[:k]))) is not None:
                    found[piece, follows] += count

    def _fallback(self, pieces: Iterable[tuple[int, str]]) -> tuple[Tensor, Tensor]:
        """Map pieces that no word of the text has here to the longest piece of the student that they begin with."""
        pairs = [(piece, found) for piece, text in pieces if (found := self.student.longest_prefix(text)) is not None]
        both = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)
        return both[:, 0], both[:, 1]

    @staticmethod
    def _entries(counts: Counter[tuple[int, int]], totals: Counter[int]) -> tuple[Tensor, Tensor]:
        entries = torch.tensor(list(counts), dtype=torch.int64).view(-1, 2)
        return entries, torch.tensor([n / totals[piece] for (piece, _), n in counts.items()], dtype=torch.float32)

    def _state(self, word: tuple[Pieces, Pieces], k: int) -> tuple[_State, int]:
        """Return the state after `k` of a word's pieces of the student, and how many of the teacher's come before."""
        ours, theirs = word[0], word[1][:k]
        m = self._boundary(ours, theirs)
        key = ours[:m], theirs
        if key not in self._states:
            if len(self._states) >= STATES:
                self._states.clear()
            remainder = self.student.spell(theirs)[len(self.teacher.spell(ours[:m])) :]
            self._states[key] = self._make_state(*key, remainder)
        return self._states[key], m

    def _make_state(self, ours: Pieces, theirs: Pieces, remainder: str) -> _State:
        """`remainder` is what the student has spelled after the teacher's last boundary."""
        counts, totals = self._counts.get((ours, theirs), Counter()), self._totals.get(ours, Counter())
        entries, shares = self._entries(counts, totals)
        new_word = not remainder and self._spelling.get(self.student.spell(theirs), theirs) == theirs
        if remainder:
            more = [
                (i, self.teacher.symbols[i][len(remainder) :])
                for i in self.teacher.beginning_with(remainder)
                if i not in totals
            ]
            fallback, fallback_student = self._fallback(more)
            entries = torch.cat([entries, torch.stack([fallback, fallback_student], 1)])
            shares = torch.cat([shares, torch.ones(len(fallback))])
        known = torch.tensor(list(totals), dtype=torch.int64)
        return _State(not remainder, new_word, known, entries[:, 0], entries[:, 1], shares)

    def __call__(self, probabilities: Tensor, ours: Sequence[int], theirs: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Translate the teacher's distributions at one sentence's positions into the student's.

        Args:
            probabilities: `[T, V]` float32, the teacher's at each of its target tokens and at the end of the sentence.
            ours: its `T - 1` pieces.
            theirs: the student's `S - 1` pieces of the same text.

        Returns:
            `[S, W]` float32, the probabilities of the student's pieces, and `[S]`, the mass of the rest. They sum to 1;
            at a position without any compatible piece both are 0.
        """
        pairs = paired(self.teacher, self.student, ours, theirs)
        if pairs is None:
            self.masses.without_teacher += len(theirs) + 1
            self.masses.positions += len(theirs) + 1
            nothing = probabilities.new_zeros(len(theirs) + 1, len(self.student.symbols) + 1)
            return nothing[:, :-1], nothing[:, -1]
        state, before = self._state(((), ()), 0)
        states, rows = [state], [before]
        for pair in pairs:
            for k in range(1, len(pair[1]) + 1):
                state, m = self._state(pair, k)
                states.append(state)
                rows.append(before + m)
            before += len(pair[0])
        return self._mix(probabilities[torch.tensor(rows)], states)

    def _mix(self, given: Tensor, states: list[_State]) -> tuple[Tensor, Tensor]:
        n, width = len(states), len(self.student.symbols)
        # One more column, for the rest.
        mixed = given.new_zeros(n, width + 1)
        new = torch.tensor([state.new_word for state in states])
        found = given[new][:, self._new_teacher] * self._new_share
        divided = found[:, self._new_share < 1].sum()
        mixed[new] = mixed[new].index_add_(1, self._new_student, found)
        aligned = torch.tensor([state.aligned for state in states])
        unknown = given.clone()
        for row, state in enumerate(states):
            unknown[row, state.known] = 0
        mixed[aligned] = mixed[aligned].index_add_(1, self._inside_student, unknown[aligned][:, self._inside])
        sizes = torch.tensor([len(state.teacher) for state in states])
        sizes[0] = 0  # these are among the pieces that begin a word
        rows = torch.arange(n).repeat_interleave(sizes)
        teacher, student, share = (
            torch.cat([getattr(state, name) for state in states[1:]] or [torch.empty(0, dtype=torch.int64)])
            for name in ("teacher", "student", "share")
        )
        # Index -1 is the last column.
        inside = given[rows, teacher] * share
        divided += inside[(share < 1) & (student != ENDED)].sum()
        mixed.view(-1).index_add_(0, rows * (width + 1) + student % (width + 1), inside)
        total = mixed.sum(1, keepdim=True)
        self.masses.add(mixed, total, float(divided))
        # Not where only rounding is missing, so that equal vocabularies give equal numbers.
        mixed = torch.where((total > 0) & (total < 1 - 1e-5), mixed / total, mixed)
        return mixed[:, :-1], mixed[:, -1]


def _ends(vocabulary: Vocabulary, word: Pieces) -> list[int]:
    """Return at which character each piece of a word begins, and the word's length."""
    return [0, *accumulate(len(vocabulary.symbols[piece]) for piece in word)]


def paired(
    teacher: Vocabulary, student: Vocabulary, ours: Sequence[int], theirs: Sequence[int]
) -> list[tuple[Pieces, Pieces]] | None:
    """Return the words of a sentence in both spellings; None if they are not the same text."""
    mine, others = teacher.words(ours), student.words(theirs)
    same = len(mine) == len(others) and all(
        min(a) >= teacher.special and min(b) >= student.special and teacher.spell(a) == student.spell(b)
        for a, b in zip(mine, others, strict=True)
    )
    return list(zip(mine, others, strict=True)) if same else None
