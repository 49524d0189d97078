"""The set of hashes, compared with a Python set."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fairseq_lskd.data.clean.seen import Seen, line_hash

BLOCKS = st.lists(st.lists(st.integers(0, 40) | st.just(2**64 - 1), max_size=30), max_size=12)


@given(BLOCKS)
def test_it_finds_what_a_python_set_finds(blocks: list[list[int]]) -> None:
    seen, known = Seen(), set()
    for block in blocks:
        expected = []
        for value in block:
            expected.append(value not in known)
            known.add(value)
        assert seen.add(np.array(block, dtype=np.uint64)).tolist() == expected
    assert len(seen) == len(known)


def test_a_hash_takes_eight_bytes_and_runs_stay_few() -> None:
    seen, rng = Seen(), np.random.default_rng(1)
    for _ in range(300):
        seen.add(rng.integers(0, 2**63, size=1000, dtype=np.uint64))
    assert sum(run.nbytes for run in seen._runs) == 8 * len(seen) == 8 * 300_000
    assert len(seen._runs) <= 10


def test_hashes_are_the_same_everywhere() -> None:
    assert line_hash(b"Guten Tag").hex() == "aaa778af5dc28767"
