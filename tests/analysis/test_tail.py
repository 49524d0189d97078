"""Tests of F1 of output words by their frequency in training."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from fairseq_lskd.analysis.tail import Buckets, match_words, section, split_words
from fairseq_lskd.errors import UserError

FREQUENCIES = {"the": 50, "cat": 3, "sat": 1}


def test_buckets() -> None:
    buckets = Buckets({"a": 1, "b": 2, "c": 4, "d": 5, "e": 999, "f": 1000})
    assert buckets.names == ["0", "1", "2-4", "5-9", "10-99", "100-999", "1000+"]
    assert [buckets.of(word) for word in "zabcdef"] == [0, 1, 2, 2, 3, 5, 6]
    assert buckets.rare == 4  # seen fewer than 10 times


@pytest.mark.parametrize("cuts", [(), (0, 1), (5, 2), (2, 2)])
def test_invalid_buckets(cuts: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="expected increasing numbers from 1"):
        Buckets({}, cuts)


def test_f1_by_hand() -> None:
    # "the" is in the output twice and in the reference three times, clipped within each sentence.
    hypotheses = [["the", "the", "cat"], ["the", "dog"]]
    references = [["the", "cat", "sat"], ["the", "the", "cat"]]
    buckets = Buckets(FREQUENCIES, cuts=(1, 2, 10))
    found = match_words(hypotheses, references, buckets)
    assert buckets.names == ["0", "1", "2-9", "10+"]
    assert found.right.sum(0).tolist() == [0, 0, 1, 2]
    assert found.output.sum(0).tolist() == [1, 0, 1, 3]
    assert found.reference.sum(0).tolist() == [0, 1, 2, 3]
    # cat: precision 1, recall 1/2; the: precision 2/3, recall 2/3
    assert found.f1().tolist() == pytest.approx([0, 0, 2 / 3, 2 / 3])
    pooled = found.pooled(buckets.rare)  # below 2, others, all
    assert pooled.f1()[-3:].tolist() == pytest.approx([0, 2 * 3 / 9, 2 * 3 / 11])


def test_a_bucket_without_words_has_no_f1() -> None:
    found = match_words([["the"]], [["the"]], Buckets(FREQUENCIES))
    assert found.f1().isnan().sum() == 6 and found.f1()[4] == 1


def test_resampled_values_are_around_the_value() -> None:
    chance = random.Random(2)
    words = ["the", "cat", "sat", "on"]
    references = [chance.choices(words, k=6) for _ in range(200)]
    hypotheses = [[w if chance.random() < 0.7 else "x" for w in line] for line in references]
    found = match_words(hypotheses, references, Buckets(FREQUENCIES, cuts=(1,)))
    draws = found.resampled_f1(500)
    torch.testing.assert_close(draws.mean(0), found.f1(), rtol=0, atol=0.01)
    assert (draws.std(0) > 0.005).all()


def corpus(folder: Path) -> dict[str, Path]:
    """Write translations in which one system has only the rare words wrong."""
    chance = random.Random(3)
    rare = [f"rare{i}" for i in range(300)]
    lines = [["Common", chance.choice(rare), "common", "."] for _ in range(300)]
    files = {
        "training": [" ".join(["Common", "common", "common", "."])] * 500 + rare,
        "references": [" ".join(line) for line in lines],
        "plain": [" ".join(line) for line in lines],
        "smoothed": [" ".join(w if not w.startswith("rare") else "wrong" for w in line) for line in lines],
    }
    for name, text in files.items():
        (folder / name).write_text("\n".join(text) + "\n")
    return {name: folder / name for name in files}


def test_a_system_that_is_worse_only_on_rare_words(tmp_path: Path) -> None:
    files = corpus(tmp_path)
    systems = {"plain": files["plain"], "smoothed": files["smoothed"]}
    found = section(systems, files["references"], files["training"])
    assert "smoothed is worse than plain on rare words: held. It loses more" in found.words[1]
    assert "than on others: held" in found.words[1]
    rows = {(row[0], row[1]): row for row in found.tables[0].rows}
    assert rows["smoothed", "1"][3] == 0 and rows["smoothed", "1"][6] == -100
    assert rows["smoothed", "100-999"][6] == 0 and rows["plain", "all"][3] == 100
    assert rows["plain", "1"][6] is None and rows["plain", "2-4"][3] is None
    (picture,) = found.pictures
    assert len(picture.figure.axes) == 2
    alone = section({"plain": files["plain"]}, files["references"], files["training"])
    assert not alone.words and len(alone.pictures[0].figure.axes) == 1


def test_words_are_split_as_for_bleu() -> None:
    assert split_words('He said: "No."') == ["He", "said", ":", '"', "No", ".", '"']


def test_files_that_do_not_match(tmp_path: Path) -> None:
    files = corpus(tmp_path)
    (tmp_path / "short").write_text("a\n")
    (tmp_path / "empty").write_text("")
    with pytest.raises(UserError, match="short: found 1 translations for 300 references"):
        section({"short": tmp_path / "short"}, files["references"], files["training"])
    with pytest.raises(UserError, match="empty: found no words"):
        section({"plain": files["plain"]}, files["references"], tmp_path / "empty")
    with pytest.raises(UserError, match="needs the translations of at least one system"):
        section({}, files["references"], files["training"])
    with pytest.raises(UserError, match="empty: expected sentences"):
        section({"empty": tmp_path / "empty"}, tmp_path / "empty", files["training"])


def test_one_sentence_is_undecided(tmp_path: Path) -> None:
    for name, text in {"training": "a b", "references": "a b", "plain": "a b", "smoothed": "c d"}.items():
        (tmp_path / name).write_text(f"{text}\n")
    systems = {name: tmp_path / name for name in ("plain", "smoothed")}
    found = section(systems, tmp_path / "references", tmp_path / "training")
    assert "on rare words: undecided." in found.words[1]
    assert next(row for row in found.tables[0].rows if row[:2] == ("plain", "all"))[3:6] == (100, None, None)
