"""Filters by scores in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.candidates import Candidates
from fairseq_lskd.sequences.score_filters import ScoreFilter, check_scores, learn, make_filters, mark


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def records(*sizes: int) -> list[dict[str, Any]]:
    hypotheses = [{"tokens": "x", "text": "x", "score": -1.0, "length": 2}]
    return [{"id": i, "source": "a", "hypotheses": hypotheses * size} for i, size in enumerate(sizes)]


def refused(found: Any) -> list[list[Any]]:
    return [[h.get("refused") for h in record["hypotheses"]] for record in found]


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.5, 0.999])
def test_the_worst_share_of_all_hypotheses_is_dropped(share: float, tmp_path: Path) -> None:
    values = np.random.default_rng(1).permutation(200).astype(float)
    lists = records(*[5] * 40)
    path = write(tmp_path / "back.jsonl", *(json.dumps(row.tolist()) for row in values.reshape(40, 5)))
    filters = learn([ScoreFilter("--filter-worst", path, share)], lists)
    found = [each for row in refused(mark(lists, filters)) for each in row]
    dropped = {value for value, why in zip(values, found, strict=True) if why}
    assert dropped == set(range(int(share * 200)))
    assert all(
        why is None or why == (f"lowest {100 * share:g} % in back.jsonl", value)
        for value, why in zip(values, found, strict=True)
    )


def test_what_is_below_a_threshold_is_dropped(tmp_path: Path) -> None:
    lists = records(2, 0, 1)
    path = write(tmp_path / "contrast", "0.5", "-0.25", "0")
    filters = learn([ScoreFilter("--filter-below", path, 0.0)], lists)
    assert refused(mark(lists, filters)) == [[None, ("below 0 in contrast", -0.25)], [], [None]]


def test_the_first_of_several_filters_counts(tmp_path: Path) -> None:
    lists = records(1, 1, 1, 1)
    one = ScoreFilter("--filter-worst", write(tmp_path / "one", 4, 1, 2, 3), 0.25)
    two = ScoreFilter("--filter-below", write(tmp_path / "two", 0, 0, 0, 9), 1)
    assert [[each and each[0]] for (each,) in refused(mark(lists, learn([one, two], lists)))] == [
        ["below 1 in two"], ["lowest 25 % in one"], ["below 1 in two"], [None],
    ]  # fmt: skip


def test_empty_translations_of_other_software_have_scores_too(tmp_path: Path) -> None:
    source, text = write(tmp_path / "de", "a", "b"), write(tmp_path / "en", "", "x", "y", " ")
    candidates = Candidates(text, "text", source, nbest=2)
    filters = make_filters([], [(write(tmp_path / "scores", "[-9, 1]", "[-1, -9]"), 0.0)], candidates)
    assert refused(mark(candidates.read(), learn(filters, candidates.read()))) == [
        [None],
        [("below 0 in scores", -1.0)],
    ]


@pytest.mark.parametrize("lines", [["[1]", "[2]", "[3]"], ["[1, 2]"], ["[1, 2]", "[]"], ["1"]])
def test_scores_that_do_not_fit_the_list_are_refused(lines: list[str], tmp_path: Path) -> None:
    path, lists = write(tmp_path / "scores", *lines), records(2, 1)
    with pytest.raises(UserError, match=f"--filter-below {path}"):
        learn([ScoreFilter("--filter-below", path, 0.0)], lists)


@pytest.mark.parametrize(("flag", "limit"), [("--filter-worst", 0), ("--filter-worst", 1), ("--filter-below", "nan")])
def test_limits_out_of_range_are_refused(flag: str, limit: Any) -> None:
    with pytest.raises(UserError, match=flag):
        ScoreFilter(flag, Path("scores"), float(limit))


def test_scores_of_another_list_are_refused(tmp_path: Path) -> None:
    lists = [json.dumps(record) for record in records(1, 1)]
    candidates = Candidates(write(tmp_path / "nbest.jsonl", *lists))
    scores = write(tmp_path / "scores", "[1]", "[2]")
    assert check_scores("--scores", scores, candidates) is None
    record = {"run": {"NBEST": candidates.digests["NBEST"]}, "lines": 2, "bytes": scores.stat().st_size}
    manifest = write(tmp_path / "scores.manifest.json", json.dumps(record))
    assert check_scores("--scores", scores, candidates) == record["run"]
    write(manifest, json.dumps(record | {"run": {"NBEST": "0" * 64}}))
    with pytest.raises(UserError, match=r"--filter-worst .*scores.* another list .*nbest\.jsonl"):
        make_filters([(scores, 0.05)], [], candidates)
    write(manifest, json.dumps(record | {"bytes": 5}))
    with pytest.raises(UserError, match="changed"):
        check_scores("--scores", scores, candidates)
    with pytest.raises(UserError, match=r"--filter-worst .*missing"):
        make_filters([(tmp_path / "missing", 0.05)], [], candidates)
