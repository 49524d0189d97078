"""F1 of output words by their frequency in training: Shen et al. (ICLR 2021), App. A, for translation.

The F1 by frequency bucket is that of compare-mt (Neubig et al., NAACL 2019, section 3.2). In every sentence a word of
the output counts as correct at most as often as it occurs in the reference. Correct words, words of the output and
words of the reference are summed in each bucket to give precision, recall and F1.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..lines import read_lines
from .bootstrap import DRAWS, Interval, interval, resamples
from .document import Picture, Section, Table
from .intervals import verdict
from .style import figure, line, styled

#: Lower bounds of the buckets after the first one, which has the unseen words.
CUTS = (1, 2, 5, 10, 100, 1000)
Words = Sequence[str]


@dataclass(frozen=True)
class Buckets:
    """Buckets of words by frequency in training."""

    frequencies: Mapping[str, int]
    cuts: Sequence[int] = CUTS

    def __post_init__(self) -> None:
        if not self.cuts or list(self.cuts) != sorted(set(self.cuts)) or self.cuts[0] < 1:
            raise UserError(f"frequency buckets {', '.join(map(str, self.cuts))}: expected increasing numbers from 1")

    @property
    def names(self) -> list[str]:
        """The names of the buckets: `0`, `1`, `2-4`, ..., `1000+`."""
        ends = [0, *self.cuts]
        middle = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in itertools.pairwise(ends)]
        return [*middle, f"{ends[-1]}+"]

    @property
    def rare(self) -> int:
        """The number of rare buckets: those below the middle cut, by default 10."""
        return len(self.cuts) // 2 + 1

    def of(self, word: str) -> int:
        return bisect.bisect_right(self.cuts, self.frequencies.get(word, 0))


@dataclass(frozen=True)
class Matches:
    """Counts of correct words, words of the output and words of the reference, `[sentences, buckets]` float64."""

    right: Tensor
    output: Tensor
    reference: Tensor

    def f1(self) -> Tensor:
        """Return F1 by bucket, `[buckets]`, 0 to 1; NaN for buckets without words."""
        return _f1(self.right.sum(0), self.output.sum(0), self.reference.sum(0))

    def resampled_f1(self, draws: int = DRAWS) -> Tensor:
        """Return F1 for resampled sentences, `[draws, buckets]`. All systems use the same resamples."""
        sums = [
            [w @ part for part in (self.right, self.output, self.reference)] for w in resamples(len(self.right), draws)
        ]
        return torch.cat([_f1(*parts) for parts in sums])

    def pooled(self, rare: int) -> Matches:
        """Return the counts with three more buckets: the first `rare` ones, the others, and all."""
        parts = (self.right, self.output, self.reference)
        slices = (slice(None, rare), slice(rare, None), slice(None))
        return Matches(*(torch.cat([p, *(p[:, each].sum(1, keepdim=True) for each in slices)], dim=1) for p in parts))


def _f1(right: Tensor, output: Tensor, reference: Tensor) -> Tensor:
    # 2PR / (P + R) with P = right / output and R = right / reference
    return torch.where(output + reference > 0, 2 * right / (output + reference), math.nan)


def match_words(hypotheses: Sequence[Words], references: Sequence[Words], buckets: Buckets) -> Matches:
    """Count the correct words of each sentence by bucket.

    Raises:
        UserError: if the numbers of sentences differ, or there is none.
    """
    if len(hypotheses) != len(references):
        raise UserError(
            f"found {len(hypotheses):,} translations for {len(references):,} references; expected one translation per "
            "reference"
        )
    if not references:
        raise UserError("expected sentences to compare, found none")
    counts = torch.zeros(3, len(references), len(buckets.names), dtype=torch.float64)
    for sentence, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        said, wanted = Counter(hypothesis), Counter(reference)
        for row, words in enumerate((said & wanted, said, wanted)):
            for word, count in words.items():
                counts[row, sentence, buckets.of(word)] += count
    return Matches(*counts)


def split_words(line: str) -> list[str]:
    """Split a line into words and punctuation marks with sacreBLEU's tokeniser 13a; case is kept."""
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()(line).split()


def section(systems: Mapping[str, Path], references: Path, training: Path, cuts: Sequence[int] = CUTS) -> Section:
    """Return the section on F1 of output words by frequency in training, with differences from the first system.

    Args:
        systems: name -> file of translations, detokenised, one sentence per line. The first is the baseline, such as a
            teacher without smoothing or its student.
        references: file of references, in the same format.
        training: target side of the training text, plain or gzipped.
        cuts: lower bounds of the frequency buckets after the first.

    Raises:
        UserError: if a file cannot be read, numbers of lines differ, or there is no system.
    """
    if not systems:
        raise UserError("F1 of words by frequency needs the translations of at least one system")
    frequencies = Counter(word for line in read_lines(training) for word in split_words(line))
    if not frequencies:
        raise UserError(f"{training}: found no words; expected the target side of the training text")
    buckets = Buckets(frequencies, cuts)
    wanted = [split_words(line) for line in read_lines(references)]
    found: dict[str, Matches] = {}
    for name, path in systems.items():
        try:
            found[name] = match_words([split_words(line) for line in read_lines(path)], wanted, buckets)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return report(found, buckets)


def report(found: Mapping[str, Matches], buckets: Buckets) -> Section:
    first, *others = found
    edge = buckets.cuts[buckets.rare - 1]
    columns = [*buckets.names, f"rare, <{edge}", f"others, {edge}+", "all"]
    pooled = {name: matches.pooled(buckets.rare) for name, matches in found.items()}
    values = {name: 100 * matches.f1() for name, matches in pooled.items()}
    draws = {name: 100 * matches.resampled_f1() for name, matches in pooled.items()}
    words = pooled[first].reference.sum(0)
    rows, gaps = [], {}
    for name in found:
        gap, gap_draws = values[name] - values[first], draws[name] - draws[first]
        gaps[name] = [interval(gap[c].item(), gap_draws[:, c]) for c in range(len(columns))]
        # The difference between rare words and others.
        gaps[name].append(interval((gap[-3] - gap[-2]).item(), gap_draws[:, -3] - gap_draws[:, -2]))
        for c, bucket in enumerate(columns):
            f1 = interval(values[name][c].item(), draws[name][:, c])
            cells: list[float | None] = [f1.value, f1.low, f1.high]
            cells += [gaps[name][c].value, gaps[name][c].low, gaps[name][c].high] if name != first else [None] * 3
            rows.append((name, bucket, int(words[c]), *map(_rounded, cells)))
    header = ["system", "training frequency", "reference words", "F1 (%)", "95 % from", "to"]
    header += [f"minus {first}", "95 % from ", "to "]
    caption = (
        "F1 of output words by their frequency in training. Intervals are over sentences, and differences are paired."
    )
    return Section(
        "The long tail",
        list(_words(first, others, gaps, columns)),
        [Table("tail", caption, header, rows)],
        [Picture("tail", "F1 of output words by their frequency in training.", _draw(found, columns, rows), "tail")],
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 3)


def _words(
    first: str, others: Sequence[str], gaps: Mapping[str, Sequence[Interval]], columns: Sequence[str]
) -> Iterator[str]:
    names = columns[:-3]
    for name in others:
        *each, rare, common, both, tail = gaps[name]
        yield (
            f"{name} compared with {first}: F1 of output words changes by {both.shown(sign=True)} points for all "
            f"words, by {rare.shown(sign=True)} for rare words ({columns[-3].removeprefix('rare, ')} times in the "
            f"training text), and by {common.shown(sign=True)} for the others."
        )
        yield (
            f"{name} is worse than {first} on rare words: {verdict(rare, positive=False)}. It loses more on rare words "
            f"than on others: {verdict(tail, positive=False)} ({tail.shown(sign=True)} points)."
        )
        if apart := [f"{n} ({'+' if g.sign > 0 else '-'})" for n, g in zip(names, each, strict=True) if g.sign]:
            yield f"{name}: the interval excludes 0 for the buckets {', '.join(apart)}."
    if others:
        yield f"Each of the {len(names)} intervals excludes 0 by chance in one case of twenty, so look for a trend."


@styled
def _draw(found: Mapping[str, Matches], columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Any:
    first = next(iter(found))
    several = len(found) > 1
    drawn = figure(7.0, 5.2 if several else 3.0)
    panels = drawn.subplots(1 + several, 1, sharex=True, squeeze=False).ravel()
    for index, name in enumerate(found):
        mine = {row[1]: row for row in rows if row[0] == name}
        places = [i + 0.5 * ((index + 0.5) / len(found) - 0.5) for i in range(len(columns))]
        looks = line(index) | {"linestyle": "none"}
        for panel, value, low, high in ((panels[0], 3, 4, 5), (panels[-1], 6, 7, 8)):
            points = [(x, mine[bucket]) for x, bucket in zip(places, columns, strict=True)]
            seen = [(x, row[value], row[low], row[high]) for x, row in points if row[value] is not None]
            if not seen or (value == 6 and name == first):
                continue
            errors = [[y - (a if a is not None else y) for _, y, a, _ in seen]]
            errors += [[(b if b is not None else y) - y for _, y, _, b in seen]]
            panel.errorbar([x for x, *_ in seen], [y for _, y, *_ in seen], yerr=errors, label=name, capsize=2, **looks)
    panels[0].set_ylabel("F1 in %")
    panels[0].legend(fontsize=7)
    if several:
        panels[-1].axhline(0, color="black", linewidth=0.8)
        panels[-1].set_ylabel(f"F1 minus {first}, points")
    panels[-1].set_xticks(range(len(columns)), [column.replace(", ", "\n") for column in columns])
    panels[-1].set_xlim(-0.5, len(columns) - 0.5)
    panels[-1].set_xlabel("frequency in the training text")
    return drawn
