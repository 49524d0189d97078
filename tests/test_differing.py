"""Differences in words."""

from __future__ import annotations

from fairseq_lskd.differing import what_differs


def test_equal_values_are_left_out_and_requested_ones_come_first() -> None:
    there = {"old": "x", "beam": 5, "same": [1, 2], "teachers": ["0" * 64, "a"]}
    asked = {"teachers": ["0" * 64], "beam": 4, "same": [1, 2], "seed": 2}
    assert what_differs(there, asked) == [
        "teachers: SHA-256 000000000000… a, now SHA-256 000000000000…",
        "beam: 5, now 4",
        "seed: none, now 2",
        "old: x, now none",
    ]


def test_labels_and_the_word_after_the_requested_value() -> None:
    assert what_differs({"beam": 5}, {"beam": 4}, "--{}", here="here") == ["--beam: 5, here 4"]
    assert what_differs({"beam": None}, {}) == []
