"""Splitting text into pieces, and joining pieces to text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.segmentation import check_pieces, joiner, splitter
from fairseq_lskd.teachers.model_folder import model_symbols


@pytest.mark.parametrize(
    ("symbols", "pieces", "text"),
    [
        (["▁a", "b"], ["▁a", "b", "▁dog", "."], "ab dog."),
        (["▁a", "b"], ["b"], "b"),
        (["▁a", "b"], ["▁a", "<unk>"], "a<unk>"),
        (["a@@", "b"], ["a@@", "b", "dog"], "ab dog"),
        (["a@@", "b"], ["dog", "a@@"], "dog a"),
        (["a", "b"], ["a", "b"], "a b"),
        (["▁a"], [], ""),
    ],
)
def test_the_vocabulary_decides_how_pieces_are_joined(symbols: list[str], pieces: list[str], text: str) -> None:
    assert joiner(None, symbols)(pieces) == text


def test_without_a_model_lines_are_split_at_white_space() -> None:
    assert splitter(None)(["▁a b  c\u00a0d", " "]) == [["▁a", "b", "c", "d"], []]


def test_a_sentencepiece_model_splits_and_joins(tmp_path: Path) -> None:
    import sentencepiece

    (tmp_path / "text").write_text("a dog and a cat\na cat and a dog\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "spm"), vocab_size=12, minloglevel=2
    )
    model = tmp_path / "spm.model"
    (pieces, nothing) = splitter(model)(["a dog", ""])
    assert pieces[0].startswith("▁") and nothing == []
    assert joiner(model, [])(pieces) == "a dog"


def test_a_file_that_is_not_a_sentencepiece_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_text("no model")
    with pytest.raises(UserError, match=r"--sentencepiece-source .*spm.model is not a SentencePiece model"):
        splitter(tmp_path / "spm.model")
    with pytest.raises(UserError, match=r"--sentencepiece-target .*none.*No such file"):
        joiner(tmp_path / "none", [])


@pytest.mark.parametrize("unknown", [0, 2, 3, 10])
def test_text_in_other_pieces_is_refused(unknown: int) -> None:
    lines = [["▁a"] * (10 - unknown), ["a"] * unknown]
    if unknown <= 2:
        check_pieces(lines, {"▁a"}, "CORPUS x")
        return
    with pytest.raises(UserError, match=rf"CORPUS x: the teacher .*{unknown}0 %.* 20 %.*--sentencepiece\b"):
        check_pieces(lines, {"▁a"}, "CORPUS x")


def test_unk_in_binarised_data_counts_as_unknown() -> None:
    with pytest.raises(UserError, match="100 %"):
        check_pieces([["<unk>", "<unk>"]], {"<unk>"}, "CORPUS x")


def test_empty_sentences_are_in_the_right_pieces() -> None:
    check_pieces([[], []], set(), "CORPUS x")


def test_the_vocabulary_of_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--model .*target_vocabulary\.json.*shared_vocabulary\.json"):
        model_symbols(tmp_path)
    (tmp_path / "shared_vocabulary.txt").write_text("<unk>\n▁a\n")
    assert model_symbols(tmp_path) == ["<unk>", "▁a"]
    (tmp_path / "target_vocabulary.json").write_text(json.dumps(["<unk>", "▁b"]))
    assert model_symbols(tmp_path) == ["<unk>", "▁b"]
