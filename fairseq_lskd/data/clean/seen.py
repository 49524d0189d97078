"""Detect repeated lines by 64-bit hashes in sorted arrays."""

from __future__ import annotations

import hashlib

import numpy as np


def line_hash(line: bytes) -> bytes:
    """Return 8 bytes, the same on every machine. Two of 40 million lines collide with a probability of 4e-5."""
    return hashlib.blake2b(line, digest_size=8).digest()


class Seen:
    """A set of 64-bit hashes that grows by blocks. It takes 8 bytes per hash, up to three times that while merging."""

    def __init__(self) -> None:
        # Sorted, each at least twice as long as the next, so there are few, and each hash is merged only a few times.
        self._runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def add(self, hashes: np.ndarray) -> np.ndarray:
        """Add hashes (uint64 `[N]`). Return bool `[N]`, True for each that was not seen before."""
        unique, first = np.unique(hashes, return_index=True)
        fresh = np.ones(len(unique), dtype=bool)
        for run in self._runs:
            place = np.searchsorted(run, unique)
            place[place == len(run)] = 0
            fresh &= run[place] != unique
        new = np.zeros(len(hashes), dtype=bool)
        new[first[fresh]] = True
        if fresh.any():
            self._runs.append(unique[fresh])
            while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
                merged = np.concatenate([self._runs.pop(), self._runs.pop()])
                merged.sort(kind="stable")  # fast, because this sort detects sorted runs
                self._runs.append(merged)
        return new
