"""Score (source, hypothesis) pairs by forced decoding: the log-probability that a model gives to the hypothesis."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .decoding import Engine, Settings, make_batches
from .nbest import EMPTY, TOO_LONG, given_count, places
from .pieces import to_text
from .segmentation import Split

#: The score of a pair that the model cannot read. All other scores are higher.
UNSCORED = -1e9
#: Number of source sentences of similar length that the other source of a contrast is chosen from.
NEIGHBOURS = 16

Pieces = tuple[str, ...]
Pair = tuple[Pieces, Pieces]  #: the source and the target side of the scoring model


@dataclass(frozen=True)
class Sides:
    """Converts the records of an n-best list to pairs in the pieces of a model."""

    split_source: Split
    split_target: Split
    source_is_text: bool = False  #: the model's source side is split from text; otherwise lines are in pieces
    target_is_text: bool = False
    backward: bool = False  #: the model reads the hypothesis and is forced to write the source
    remove_bpe: str = "sentencepiece"  #: segmentation scheme of source lines, one of `pieces.SCHEMES`

    def pairs(self, records: Sequence[Mapping[str, Any]]) -> list[list[Pair]]:
        """Return a list of pairs per record, one pair per hypothesis."""
        lines = [[self._lines(record, each) for each in record["hypotheses"]] for record in records]
        splits = self.split_source, self.split_target
        sides = [_split(split, (pair[side] for many in lines for pair in many)) for side, split in enumerate(splits)]
        return [[(sides[0][source], sides[1][target]) for source, target in many] for many in lines]

    def _lines(self, record: Mapping[str, Any], hypothesis: Mapping[str, Any]) -> tuple[str, str]:
        """Return the lines of the model's source side and of its target side."""
        texts = (
            (self.target_is_text, self.source_is_text) if self.backward else (self.source_is_text, self.target_is_text)
        )
        source = to_text(record["source"], self.remove_bpe) if texts[0] else record["source"]
        target = hypothesis["text" if texts[1] else "tokens"]
        return (target, source) if self.backward else (source, target)


def _split(split: Split, lines: Iterable[str]) -> dict[str, Pieces]:
    different = list(dict.fromkeys(lines))
    return dict(zip(different, map(tuple, split(different)), strict=True))


class OtherSources:
    """Chooses another source sentence of similar length, for the contrast of `PairScorer`."""

    def __init__(self, sources: Iterable[Pieces]):
        """`sources`: sentences to choose from; at least two of them differ."""
        self._sources = sorted({source for source in sources if source}, key=lambda source: (len(source), source))
        self._lengths = [len(source) for source in self._sources]

    def __len__(self) -> int:
        return len(self._sources)

    def __call__(self, source: Pieces, sentence: int) -> Pieces:
        """Return a sentence that differs from `source`. The index `sentence` decides among the neighbours."""
        middle = bisect.bisect_left(self._lengths, len(source))
        first = max(0, min(middle - NEIGHBOURS // 2, len(self._sources) - NEIGHBOURS - 1))
        others = [each for each in self._sources[first : first + NEIGHBOURS + 1] if each != source]
        return others[sentence % len(others)]


@dataclass
class PairScorer:
    """Scores windows of records with an engine that is configured with `settings`.

    A score is the natural logarithm of the model's probability of the target side, divided by the number of its tokens
    (end-of-sentence included, as in `lskd translate` with --lenpen 1), or not divided if `total`. With `other_sources`,
    the score with another source is subtracted. The highest score is the best.
    """

    engine: Engine
    sides: Sides
    settings: Settings
    total: bool = False
    other_sources: OtherSources | None = None
    extra: int = 1  #: tokens that are added to a source: end-of-sentence and language tokens

    def score(self, records: Sequence[Mapping[str, Any]]) -> tuple[list[list[float]], Counter[str]]:
        """Score every hypothesis of some records.

        Returns:
            A list of scores per record, with a score for each hypothesis of the input file. Scores are rounded to six
            decimals; pairs with an empty side, or a side that is too long, have `UNSCORED`. And the counts of "pairs",
            "tokens" (target tokens that were scored), and pairs that were not scored, by reason.
        """
        found: list[list[float]] = [[UNSCORED] * given_count(record) for record in records]
        counts = Counter({"pairs": sum(map(len, found))})
        scored: list[tuple[int, int, Pair, Pair | None]] = []
        for row, (record, pairs) in enumerate(zip(records, self.sides.pairs(records), strict=True)):
            counts[EMPTY] += len(found[row]) - len(pairs)
            for place, pair in zip(places(record), pairs, strict=True):
                if why := self._unscored(pair):
                    counts[why] += 1
                    continue
                other = None
                if self.other_sources is not None:
                    other = self.other_sources(pair[0], record["id"]), pair[1]
                scored.append((row, place, pair, other))
        forced = self._force({each for *_, pair, other in scored for each in (pair, other) if each})
        for row, place, pair, other in scored:
            counts["tokens"] += len(pair[1]) + 1
            found[row][place] = round(forced[pair] - (forced[other] if other else 0.0), 6)
        return found, +counts

    def _unscored(self, pair: Pair) -> str | None:
        """Return why the model cannot read a pair, or None."""
        source, target = pair
        if not source or not target:
            return EMPTY
        fits = len(source) + self.extra <= self.engine.max_source_positions
        return None if fits and len(target) + 1 <= self.engine.max_target_positions else TOO_LONG

    def _force(self, pairs: Iterable[Pair]) -> dict[Pair, float]:
        """Score pairs in batches of similar length, `settings.workers` batches at a time."""
        ordered = sorted(pairs)  # the order of a set differs between processes, and batches must not
        lengths = [max(map(len, pair)) for pair in ordered]
        batches = make_batches(lengths, self.settings.max_tokens, self.settings.batch_size)

        def scores(batch: list[int]) -> list[float]:
            sources, targets = ([list(ordered[i][side]) for i in batch] for side in (0, 1))
            found = self.engine.log_probs(sources, targets)
            return [sum(each) / (1 if self.total else len(each)) for each in found]

        return {
            ordered[i]: score
            for batch, several in zip(batches, _map(scores, batches, self.settings.workers), strict=True)
            for i, score in zip(batch, several, strict=True)
        }


def _map(scores: Any, batches: list[list[int]], workers: int) -> Iterator[list[float]]:
    if workers == 1:
        yield from map(scores, batches)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(scores, batches)
