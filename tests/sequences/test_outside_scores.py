"""Reading external scores of hypotheses."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.candidates import Candidates
from fairseq_lskd.sequences.outside_scores import read_scores


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("lines", [["1", "2.5", "-3e1"], ["[1, 2.5]", "[]", "[-30]"]], ids=["numbers", "arrays"])
def test_each_sentence_gets_a_score_per_hypothesis(lines: list[str], tmp_path: Path) -> None:
    path = write(tmp_path / "scores", *lines)
    assert list(read_scores(path, [2, 0, 1])) == [[1.0, 2.5], [], [-30.0]]
    assert list(read_scores(path, [2, 0, 1], negate=True)) == [[-1.0, -2.5], [], [30.0]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1", "2"], "ends at sentence 3"),
        (["1", "2", "3", "4"], "line 4: found more scores"),
        (["1", "x", "3"], "line 2: expected a finite number, found 'x'"),
        (["1", "inf", "3"], "line 2: expected a finite number, found 'inf'"),
        (["[1, 2]", "[]"], "ends before sentence 3"),
        (["[1, 2]", "[]", "[3]", "[4]"], "line 4: found more scores"),
        (["[1, 2]", "[3]", "[]"], "line 2: found 1 scores, expected 0"),
        (["[1]", "[]", "[3]"], "line 1: found 1 scores, expected 2"),
        (["[1, NaN]", "[]", "[3]"], "line 1: expected an array of numbers"),
        (['[1, "2"]', "[]", "[3]"], "line 1: expected an array of numbers"),
        (["[1, 2", "[]", "[3]"], "line 1: expected an array of numbers"),
        (["[1, 2]", "{}", "[3]"], "line 2: expected an array of numbers"),
    ],
)
def test_scores_that_do_not_match_the_list_are_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "scores", *lines)
    with pytest.raises(UserError) as caught:
        list(read_scores(path, [2, 0, 1]))
    assert str(caught.value).startswith(f"--scores {path}") and message in str(caught.value)


@pytest.mark.parametrize(
    ("form", "lines", "more"),
    [
        ("moses", ["0 ||| a ||| f ||| -1", "0 ||| b ||| f ||| -2", "2 ||| c ||| f ||| -1"], {}),
        ("fairseq", ["H-2\t-1\tc", "H-0\t-1\ta", "H-0\t-2\tb", "Generate test with beam=5:"], {}),
    ],
)
def test_scores_replace_those_of_the_list(form: str, lines: list[str], more: dict[str, int], tmp_path: Path) -> None:
    path, source = write(tmp_path / "nbest", *lines), write(tmp_path / "source", "eins", "zwei", "drei")
    for scores in (["5", "7", "6"], ["[5, 7]", "[]", "[6]"]):
        given = Candidates(path, form, source, scores=write(tmp_path / "scores", *scores), **more)
        found = [[(h["text"], h["score"]) for h in record["hypotheses"]] for record in given.read()]
        assert found == [[("a", 5.0), ("b", 7.0)], [], [("c", 6.0)]]


def test_arrays_have_scores_of_empty_translations_that_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "nbest", "a", "b", "", "", "c", "")
    source = write(tmp_path / "source", "eins", "zwei", "drei")
    scores = write(tmp_path / "scores", "[5, 7]", "[0, 0]", "[6, 0]")
    found = [
        [(h["text"], h["score"]) for h in record["hypotheses"]]
        for record in Candidates(path, "text", source, 2, scores).read()
    ]
    assert found == [[("a", 5.0), ("b", 7.0)], [], [("c", 6.0)]]


def test_more_scores_than_translations_of_another_toolkit_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "source", "a", "b")
    lists = write(tmp_path / "moses", "0 ||| x ||| ||| -1", "1 ||| y ||| ||| -2")
    scores = write(tmp_path / "scores", "3", "4")
    found = list(Candidates(lists, "moses", source, scores=scores).read())
    assert [record["hypotheses"][0]["score"] for record in found] == [3.0, 4.0]
    write(scores, "3", "4", "5")
    with pytest.raises(UserError, match="line 3: found more scores than hypotheses"):
        list(Candidates(lists, "moses", source, scores=scores).read())
