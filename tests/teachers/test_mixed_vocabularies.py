"""Teachers with three vocabularies, for one student: against enumeration of all words, in plain numbers."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from fairseq_lskd.losses import Mixture
from fairseq_lskd.teachers.respelled import best
from fairseq_lskd.teachers.respelling import MARK, Respelling, Vocabulary

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
EOS = 2
END = 0.1  #: the probability that a sentence ends after a word

#: Each word in the pieces of the student and of two teachers. Any piece of a teacher tells the student's next piece.
WORDS = [
    ("_wa lk", "_walk", "_walk"),
    ("_wa lk ing", "_walking", "_walk ing"),
    ("_wa lk ed", "_walked", "_walk ed"),
    ("_ta lk", "_talk", "_talk"),
    ("_ta lk ing", "_talking", "_talk ing"),
]
#: How probable the words are: the first number is their frequency in the text, on which nothing must depend here; the
#: others are what each teacher believes.
BELIEFS = [(7, 1, 6, 3, 2), (5, 3, 4, 2, 1), (1, 4, 2, 5, 3)]
SENTENCE = (1, 4, 0, 2, 3)


def vocabulary(side: int) -> Vocabulary:
    pieces = {piece.replace("_", MARK): None for word in WORDS for piece in word[side].split()}
    return Vocabulary([*SPECIALS, *pieces])


SIDES = [vocabulary(side) for side in range(3)]


def spelled(word: int, side: int) -> tuple[int, ...]:
    return tuple(SIDES[side].index[piece.replace("_", MARK)] for piece in WORDS[word][side].split())


def following(side: int, belief: int, begun: dict[int, tuple[int, ...]]) -> list[float]:
    """The probabilities of a side's next piece, by enumeration of all words that begin with the pieces of each side."""
    frequencies = BELIEFS[belief]
    first = [0.0] * len(SIDES[side].symbols)
    first[EOS] = END
    for word, n in enumerate(frequencies):
        first[spelled(word, side)[0]] += (1 - END) * n / sum(frequencies)
    if not begun[side]:
        return first
    found = [0.0] * len(first)
    for word, n in enumerate(frequencies):
        if all(spelled(word, each)[: len(pieces)] == pieces for each, pieces in begun.items()):
            pieces = spelled(word, side)
            if len(pieces) > len(begun[side]):
                found[pieces[len(begun[side])]] += n
            else:
                found = [old + n * new for old, new in zip(found, first, strict=True)]
    return [value / sum(found) for value in found]


def rows(side: int) -> Tensor:
    """What a teacher says at each position of the sentence, in its own pieces."""
    found = [following(side, side, {side: ()})]
    for word in SENTENCE:
        pieces = spelled(word, side)
        found += [following(side, side, {side: pieces[: m + 1]}) for m in range(len(pieces))]
    return torch.tensor(found)


def respelled(side: int) -> Tensor:
    words = Counter({(spelled(word, side), spelled(word, 0)): n for word, n in enumerate(BELIEFS[0])})
    ours, theirs = ([piece for word in SENTENCE for piece in spelled(word, each)] for each in (side, 0))
    found, rest = Respelling(SIDES[side], SIDES[0], words)(rows(side), ours, theirs)
    return torch.cat([found, rest.unsqueeze(1)], 1)


def places(side: int) -> list[dict[int, tuple[int, ...]]]:
    """At each of the student's positions: its pieces of the present word, and the teacher's that end before them."""
    found: list[dict[int, tuple[int, ...]]] = [{0: (), side: ()}]
    for word in SENTENCE:
        ours, theirs = spelled(word, side), spelled(word, 0)
        for k in range(1, len(theirs) + 1):
            end = len(SIDES[0].spell(theirs[:k]))
            m = max(m for m in range(len(ours) + 1) if len(SIDES[side].spell(ours[:m])) <= end)
            found.append({0: theirs[:k], side: ours[:m]})
    return found


@pytest.mark.parametrize("by_entropy", [False, True])
def test_the_mixture_is_that_of_the_students_distributions(by_entropy: bool) -> None:
    """The mixture over all types; its best types with the rest; and the rest that no teacher gives to a type."""
    mixed = Mixture((2.0, 1.0), by_entropy).mix_known([respelled(1), respelled(2)])
    kept = best(mixed, 2)
    unassigned = 0
    for position, given in enumerate(zip(places(1), places(2), strict=True)):
        each = [following(0, belief, begun) for belief, begun in zip((1, 2), given, strict=True)]
        rests = [respelled(side)[position, -1].item() for side in (1, 2)]
        weights = [2.0, 1.0]
        for side, distribution in enumerate(each):
            if rests[side]:  # the word may end inside the teacher's piece: what begins a word is one class
                inside = [i != EOS and not SIDES[0].begins_word(i) for i in range(len(distribution))]
                left = sum(p for p, is_inside in zip(distribution, inside, strict=True) if not is_inside)
                assert rests[side] == pytest.approx(left, abs=1e-6)
                distribution[:] = [p if is_inside else 0 for p, is_inside in zip(distribution, inside, strict=True)]
                unassigned += 1
            if by_entropy:
                classes = [*distribution, rests[side]]
                weights[side] *= math.exp(sum(p * math.log(p) for p in classes if p))
        wanted = [sum(w * p for w, p in zip(weights, ps, strict=True)) / sum(weights) for ps in zip(*each, strict=True)]
        assert mixed[position, :-1].tolist() == pytest.approx(wanted, abs=1e-6)
        best_two = sorted(wanted, reverse=True)[:2]
        assert kept.log_probs[position].exp().tolist() == pytest.approx(best_two, abs=1e-6)
        assert kept.rest[position].exp().item() == pytest.approx(1 - sum(best_two), abs=1e-6)
    assert unassigned  # after "_wa lk", the first teacher has not said whether the word ends
