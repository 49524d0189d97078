"""Count the n-grams of a few hundred short sequences, for overlap metrics between all pairs of them.

Each sequence is counted once. Memory is bounded: 8 bytes per position and order, and dense blocks of at most `BLOCK`
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

#: Maximum size of a dense block of counts: 16 MiB in float32.
BLOCK = 2**22


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order. For entry e, sequence `row[e]` has the n-gram `gram[e]` `count[e]` times."""

    sequences: int
    row: np.ndarray  #: [E] int64
    gram: np.ndarray  #: [E] int64, ascending from 0
    count: np.ndarray  #: [E] int64

    @property
    def totals(self) -> np.ndarray:
        """The number of n-grams in each sequence, [N] int64."""
        return np.bincount(self.row, self.count, self.sequences).astype(np.int64)

    def matches(self) -> np.ndarray:
        """Return the clipped matches of each pair of sequences, [N, N] int64: the sum of the smaller counts."""
        found = np.zeros((self.sequences, self.sequences))
        for block in self._shared():
            # The smaller of two counts is the number of levels 1, 2, ... that both counts reach.
            most = block.max(axis=0)
            columns = np.repeat(np.arange(len(most)), most)
            levels = np.arange(len(columns)) - np.repeat(np.cumsum(most) - most, most)
            for start in range(0, len(columns), width := max(1, BLOCK // self.sequences)):
                part = slice(start, start + width)
                # A sum of at most 2^22 ones is exact in float32, in any order.
                reached = (block[:, columns[part]] > levels[part]).astype(np.float32)
                found += reached @ reached.T
        matches = found.astype(np.int64)
        np.fill_diagonal(matches, self.totals)
        return matches

    def mean_matches(self, weights: np.ndarray) -> np.ndarray:
        """Return the clipped matches of each sequence with the weighted mean of all counts, [N] float64.

        Args:
            weights: weight of each sequence in the mean, [N] float64, summing to 1.
        """
        mean = np.bincount(self.gram, self.count * weights[self.row])
        return np.bincount(self.row, np.minimum(self.count, mean[self.gram]), self.sequences)

    def _shared(self) -> Iterator[np.ndarray]:
        """Yield dense counts [N, n-grams] of the n-grams of two or more sequences, a part of them at a time."""
        chosen = np.bincount(self.gram) > 1
        place = np.cumsum(chosen) - 1
        kept = chosen[self.gram]
        row, column, count = self.row[kept], place[self.gram[kept]], self.count[kept]
        width, grams = max(1, BLOCK // self.sequences), int(chosen.sum())
        for start in range(0, grams, width):
            first, last = np.searchsorted(column, (start, start + width))
            block = np.zeros((self.sequences, min(width, grams - start)), np.int64)
            block[row[first:last], column[first:last] - start] = count[first:last]
            yield block


def count_ngrams(sequences: Sequence[np.ndarray], order: int) -> Iterator[Counts]:
    """Yield the n-gram counts of orders 1, 2, ..., `order` of int64 sequences, [length] each."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    symbols = np.concatenate([np.zeros(0, np.int64), *sequences])
    row = np.repeat(np.arange(len(sequences)), lengths)
    end = np.repeat(np.cumsum(lengths), lengths)
    position = np.arange(len(symbols))
    types, symbol = np.unique(symbols, return_inverse=True)
    ids = np.zeros(len(symbols), np.int64)  # id of the (n-1)-gram that begins at each position
    for n in range(1, order + 1):
        begins = position[position + n <= end]
        # The key of an n-gram: its first n-1 symbols, its last symbol, its sequence. Sorting groups equal n-grams.
        key = (ids[begins] * len(types) + symbol[begins + n - 1]) * len(sequences) + row[begins]
        places = np.argsort(key)
        key = key[places]
        first = np.flatnonzero(np.diff(key, prepend=-1))  # first entry of each n-gram of each sequence
        of_gram = key[first] // max(len(sequences), 1)
        gram = np.cumsum(np.diff(of_gram, prepend=-1) != 0) - 1
        count = np.diff(first, append=len(key))
        yield Counts(len(sequences), key[first] % max(len(sequences), 1), gram, count)
        ids[begins[places]] = np.repeat(gram, count)
