"""Tests of the line about training budgets."""

from __future__ import annotations

from typing import Any

import pytest

from fairseq_lskd.scoring.budgets import budgets


def student(updates: int | None, tokens: int | None = None, **more: Any) -> dict[str, Any]:
    return {"role": "student", "updates": updates, "target_tokens": tokens, "validation_interval": 100, **more}


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([student(1200, 2_100_000)] * 2, "the same budget, 1,200 updates, 2.10 million target tokens"),
        # One more validation.
        ([student(1200), student(1300)], "the same budget, 1,200 to 1,300 updates"),
        # Sequence-level targets are shorter: equal updates and fewer tokens, or equal tokens and more updates.
        ([student(1200, 2_100_000), student(1200, 1_700_000)], "the same budget, 1,200 updates, 1.70 to 2.10 million"),
        ([student(1200, 2_100_000), student(2400, 2_100_000)], "the same budget, 1,200 to 2,400 updates, 2.10 million"),
        # Two more validations.
        ([student(1200), student(1400)], "different budgets, 1,200 to 1,400 updates"),
        ([student(1200, 10_000_000), student(2400, 20_400_000)], "1,200 to 2,400 updates, 10 to 20 million"),
        (
            [student(900, max_updates=3000, patience=8), student(3000, max_updates=3000, patience=8)],
            "900 to 3,000 updates (early stopping, at most 3,000 updates)",
        ),
        # One student without patience.
        ([student(900, max_updates=3000, patience=8), student(3000, max_updates=3000)], "different budgets"),
    ],
)
def test_budgets(records: list[dict[str, Any]], said: str) -> None:
    (line,) = budgets(records)
    assert said in line and ("same" in line) == ("same" in said)


def test_limits_of_trainings_without_a_log_are_compared() -> None:
    (line,) = budgets([student(None, max_updates=25), student(110, max_updates=110)])
    assert "different budgets, at most 25 to 110 updates" in line
    assert budgets([student(None, max_updates=110), student(110, max_updates=110)]) == []


def test_teachers_and_older_rows_have_no_line() -> None:
    teacher = student(9) | {"role": "teacher"}
    assert budgets([teacher, student(1200)]) == budgets([student(None), student(None)]) == budgets([{}, {}]) == []
    assert budgets([teacher, student(None), student(7), student(7)]) != []
