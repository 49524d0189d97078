"""Detect translations that say nothing about their sources: the same for all, empty, or repeating a word or letters."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence

from .bitext import some_lines

#: Fewer lines than this say nothing about a model.
FEW = 5
_MOST_EQUAL = 0.5  # share of the lines
_MOST_EMPTY = 0.1  # share of the lines
_MOST_DEGENERATE = 0.1  # share of the lines
_LONG_ENOUGH, _MOST_OF_A_LINE = 8, 0.5  # tokens of a line, and the share that one of them may have
#: A letter and up to three more characters, six times in a row.
_STUTTER = re.compile(r"([^\W\d_].{0,3}?)\1{5}")
_SHOWN = 60  #: characters of a line in a warning
SAMPLE = 10_000  # sentences that `Sampled` compares
_CAUSE = "the model may have learnt too little"


def degenerate(
    name: str, lines: Sequence[str], others: Sequence[str], numbers: Sequence[int] | None = None, of: str = ""
) -> list[str]:
    """Return warnings of translations that say nothing about their sources.

    Args:
        name: of the translations, for messages.
        others: a reference or the source of each translation. Equal or repetitive ones may have such translations.
        numbers: of the lines, if they are not 1, 2, 3 and so on.
        of: a word about the lines if they are a part of all, such as "sampled ".
    """
    found = []
    if equal := equal_lines(lines, others):
        found.append(
            f"{name}: {equal[1]:,} of {len(lines):,} {of}translations are the same, {equal[0][:_SHOWN]!r}: {_CAUSE}, "
            "or another text was translated"
        )
    if repetitive := repetitive_lines(lines, others):
        shown = some_lines([numbers[number - 1] for number in repetitive] if numbers else repetitive)
        found.append(
            f"{name}: {shown} of {len(lines):,}{f' {of}'.rstrip()} repeat one word or a few letters, such as "
            f"{lines[repetitive[0] - 1][:_SHOWN]!r}: {_CAUSE}"
        )
    return found


def equal_lines(lines: Sequence[str], others: Sequence[str]) -> tuple[str, int] | None:
    """Return the line that most translations are, with their number; None if they differ, or have equal `others`."""
    if not lines:
        return None
    ((line, count),) = Counter(lines).most_common(1)
    if count < max(FEW, _MOST_EQUAL * len(lines)) or not line.strip():
        return None
    of_these = Counter(other for each, other in zip(lines, others, strict=True) if each == line)
    return None if of_these.most_common(1)[0][1] > count / 2 else (line, count)


def repetitive_lines(lines: Sequence[str], others: Sequence[str]) -> list[int]:
    """Return the numbers, from 1, of lines that repeat a token or letters, if their `others` do not; [] if few do."""
    found = [
        number
        for number, (line, other) in enumerate(zip(lines, others, strict=True), 1)
        if _is_repetitive(line) and not _is_repetitive(other)
    ]
    return found if len(found) >= max(FEW, _MOST_DEGENERATE * len(lines)) else []


def _is_repetitive(line: str) -> bool:
    tokens = line.split()
    if len(tokens) == 1:  # a language without spaces
        tokens = list(line.strip())
    if len(tokens) >= _LONG_ENOUGH and Counter(tokens).most_common(1)[0][1] >= _MOST_OF_A_LINE * len(tokens):
        return True
    return stutters(line)


def stutters(text: str) -> bool:
    """Return whether a few characters stand six times in a row, as in "Unionssssss" and "s s s s s s"."""
    return _STUTTER.search("".join(text.split())) is not None


class Sampled:
    """Looks at translations one after the other, of any number, and keeps a sample of them."""

    def __init__(self) -> None:
        self.count = self.empty = 0
        self._random = random.Random(1)
        self._sample: list[tuple[int, str, str]] = []

    def add(self, number: int, source: str, translation: str) -> None:
        """Look at the translation of sentence `number`, from 1."""
        self.count += 1
        self.empty += not translation.strip()
        # Reservoir sampling: each sentence has the same probability of being in the sample.
        if len(self._sample) < SAMPLE:
            self._sample.append((number, source, translation))
        elif (place := self._random.randrange(self.count)) < SAMPLE:
            self._sample[place] = (number, source, translation)

    @property
    def all_empty(self) -> bool:
        """Whether there are translations, and all are empty."""
        return 0 < self.count == self.empty

    def warnings(self, name: str) -> list[str]:
        """Return warnings of translations that teach nothing.

        Args:
            name: of the translations.
        """
        found = []
        if self.empty >= max(FEW, _MOST_EMPTY * self.count) or self.all_empty:
            found.append(f"{name}: {self.empty:,} of {self.count:,} translations are empty: {_CAUSE}")
        if not self.all_empty:
            chosen = sorted(self._sample)
            numbers, sources = [number for number, _, _ in chosen], [source for _, source, _ in chosen]
            of = "sampled " if self.count > len(chosen) else ""
            found += degenerate(name, [line for _, _, line in chosen], sources, numbers, of)
        return found
