"""Tests of comparing rows except for times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.records.untimed import compare

ROW = {"system": "a", "bleu": 20.0, "train_seconds": 3.5, "exported": {"bleu": 19.0, "sentences_per_second": 9.0}}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(
        json.dumps([{**row, "exported": {"bytes": 1, "compute_type": "int8", **row["exported"]}} for row in rows])
    )
    return path


def test_times_do_not_count(tmp_path: Path) -> None:
    later = ROW | {"train_seconds": 99.0, "exported": {"bleu": 19.0, "sentences_per_second": 7.0}}
    assert compare(write(tmp_path / "a.json", ROW, ROW), write(tmp_path / "b.json", ROW, later)) == 2


def test_differences_are_listed(tmp_path: Path) -> None:
    one = write(tmp_path / "a.json", ROW)
    with pytest.raises(UserError, match=r"a: bleu: 20.0, in .*b.json 21.0"):
        compare(one, write(tmp_path / "b.json", ROW | {"bleu": 21.0}))
    with pytest.raises(UserError, match=r"1 rows, .*b.json has 2"):
        compare(one, write(tmp_path / "b.json", ROW, ROW))
