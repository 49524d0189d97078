"""A teacher's pieces as a student's: against enumeration of all words."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.respelling import MARK, Respelling, Vocabulary

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
EOS = 2


def vocabulary(*pieces: str) -> Vocabulary:
    return Vocabulary([*SPECIALS, *(piece.replace("_", MARK) for piece in pieces)])


TEACHER = vocabulary("_walk", "ing", "ed", "_talk", "_wal", "s", "_", *"walkedingt", "_sit", "_walks", "_kit", "_kits")
STUDENT = vocabulary("_wa", "lk", "_ta", "ing", "ed", "lks", "_", *"walkedingst", "_sit", "_kit", "_ki", "ts")
#: Both spellings of each word, and its frequency.
WORDS = [
    ("_walk", "_wa lk", 5),
    ("_walks", "_wa lks", 2),
    ("_walk ing", "_wa lk ing", 3),
    ("_walk ed", "_wa lk ed", 4),
    ("_talk", "_ta lk", 2),
    ("_talk s", "_ta lks", 1),
    ("_sit", "_sit", 1),
    ("_kit", "_kit", 2),
    ("_kits", "_kit s", 3),
]
END = 0.1  #: the probability that a sentence ends after a word


def ids(vocabulary: Vocabulary, text: str) -> tuple[int, ...]:
    return tuple(vocabulary.index[piece.replace("_", MARK)] for piece in text.split())


PAIRS = Counter({(ids(TEACHER, ours), ids(STUDENT, theirs)): n for ours, theirs, n in WORDS})


def following(side: int, *begun: tuple[int, ...]) -> Counter[int]:
    """The next piece of a side by enumeration of all words, each as frequent as in the text and independent of others.

    Args:
        side: 0 is the teacher's; begun: the pieces of the present word, of as many sides as are known.
    """
    total = PAIRS.total()
    first = Counter({EOS: END})
    for word, n in PAIRS.items():
        first[word[side][0]] += (1 - END) * n / total
    found: Counter[int] = Counter()
    for word, n in PAIRS.items():
        if all(word[i][: len(pieces)] == pieces for i, pieces in zip((side, 1 - side), begun, strict=False)):
            if len(word[side]) > len(begun[0]):
                found[word[side][len(begun[0])]] += n
            else:
                for piece, probability in first.items():
                    found[piece] += n * probability
    if not begun[0]:
        found = first
    return Counter({piece: value / found.total() for piece, value in found.items()})


def as_row(distribution: Counter[int], vocabulary: Vocabulary) -> Tensor:
    return torch.tensor([float(distribution[i]) for i in range(len(vocabulary.symbols))])


def teacher_rows(words: list[tuple[int, ...]]) -> Tensor:
    """The enumerated teacher at each position of a sentence, as a model gives them."""
    prefixes = [(), *(word[: i + 1] for word in words for i in range(len(word)))]
    return torch.stack([as_row(following(0, prefix), TEACHER) for prefix in prefixes])


def flat(words: list[tuple[tuple[int, ...], tuple[int, ...]]], side: int) -> list[int]:
    return [piece for word in words for piece in word[side]]


@pytest.mark.parametrize("second", range(len(WORDS)))
@pytest.mark.parametrize("first", range(len(WORDS)))
def test_independent_words_give_the_students_conditional_distribution(first: int, second: int) -> None:
    sentence = [list(PAIRS)[first], list(PAIRS)[second]]
    respelling = Respelling(TEACHER, STUDENT, PAIRS)
    found, rest = respelling(teacher_rows([word[0] for word in sentence]), flat(sentence, 0), flat(sentence, 1))
    assert found.shape == (len(flat(sentence, 1)) + 1, len(STUDENT.symbols))
    assert (found.sum(1) + rest).tolist() == pytest.approx([1.0] * len(found), abs=1e-5)
    places = [((), ())]
    for ours, theirs in sentence:
        ends = [sum(len(TEACHER.symbols[piece]) for piece in ours[:m]) for m in range(len(ours) + 1)]
        for k in range(1, len(theirs) + 1):
            end = sum(len(STUDENT.symbols[piece]) for piece in theirs[:k])
            places.append((theirs[:k], ours[: max(m for m, each in enumerate(ends) if each <= end)]))
    inside = torch.tensor([i != EOS and not STUDENT.begins_word(i) for i in range(len(STUDENT.symbols))])
    for row, left, place in zip(found, rest, places, strict=True):
        wanted = as_row(following(1, *place), STUDENT)
        if left > 0:  # the word may end inside the teacher's piece, which does not tell what comes next
            assert float(left) == pytest.approx(float(wanted[~inside].sum()), abs=1e-6)
            wanted[~inside] = 0
        assert torch.allclose(row, wanted, atol=1e-6), place
    kits = ids(TEACHER, "_kits")
    assert bool(rest.any()) == any(word[0] == kits for word in sentence)


def test_equal_vocabularies_give_the_teachers_own_numbers() -> None:
    same = Counter({(ours, ours): n for (ours, _), n in PAIRS.items()})
    sentence = flat(list(same), 0)
    given = torch.randn(len(sentence) + 1, len(TEACHER.symbols), generator=torch.Generator().manual_seed(1)).softmax(-1)
    found, rest = Respelling(TEACHER, TEACHER, same)(given, sentence, sentence)
    assert torch.equal(found, given) and not rest.any()


def test_pieces_that_no_word_has_go_to_the_longest_piece_that_they_begin_with() -> None:
    respelling = Respelling(TEACHER, STUDENT, PAIRS)
    given = torch.zeros(2, len(TEACHER.symbols))
    given[0, ids(TEACHER, "_wal")] = 1.0  # begins no word of the text
    given[1, ids(TEACHER, "ing")] = 1.0  # nothing follows "_sit" in it
    found, rest = respelling(given, ids(TEACHER, "_sit"), ids(STUDENT, "_sit"))
    assert found[0, ids(STUDENT, "_wa")].item() == found[1, ids(STUDENT, "ing")].item() == 1.0 and not rest.any()


def test_a_piece_of_several_words_is_divided_by_their_frequency() -> None:
    teacher, student = vocabulary("_a", "b", "c"), vocabulary("_ab", "_ac", "_a")
    pairs = Counter({(ids(teacher, "_a b"), ids(student, "_ab")): 3, (ids(teacher, "_a c"), ids(student, "_ac")): 1})
    respelling = Respelling(teacher, student, pairs)
    given = torch.tensor([[0, 0, 0.2, 0, 0.8, 0, 0]] * 3)
    found, rest = respelling(given, ids(teacher, "_a b"), ids(student, "_ab"))
    assert found[0].tolist() == pytest.approx([0, 0, 0.2, 0, 0.6, 0.2, 0]) and not rest.any()
    assert respelling.masses.divided == pytest.approx(0.8 * 2)  # a new word may follow at the end, too
    assert respelling.masses.positions == 2


def test_a_sentence_of_other_text_has_no_teacher() -> None:
    respelling = Respelling(TEACHER, STUDENT, PAIRS)
    found, rest = respelling(torch.ones(2, len(TEACHER.symbols)), ids(TEACHER, "_sit"), ids(STUDENT, "_kit s"))
    assert found.shape == (3, len(STUDENT.symbols)) and not found.any() and not rest.any()
    assert respelling.masses.without_teacher == 3
    # These positions have no mass that could be dropped.
    assert respelling.masses.dropped == 0 and "0.00% dropped" in str(respelling.masses)


def test_texts_that_differ_are_refused() -> None:
    same = (ids(TEACHER, "_sit"), ids(STUDENT, "_sit"))
    other = (ids(TEACHER, "_sit"), ids(STUDENT, "_kit s"))
    assert Respelling.read(TEACHER, STUDENT, [same] * 19 + [other])
    with pytest.raises(UserError, match="2 of 20 sentences") as caught:
        Respelling.read(TEACHER, STUDENT, [same] * 18 + [other] * 2)
    said = str(caught.value)
    assert "--teacher-text" in said and "sentence 19" in said and f"{MARK}kits" in said
