"""From text to pieces and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.segmentation import check_pieces, joiner, model_symbols, splitter


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
def test_marks_of_the_vocabulary_say_how_to_join(symbols: list[str], pieces: list[str], text: str) -> None:
    assert joiner(None, symbols)(pieces) == text


def test_without_a_model_lines_are_in_pieces() -> None:
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


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_text("no model")
    with pytest.raises(UserError, match=r"--sentencepiece-source .*spm.model is not a SentencePiece model"):
        splitter(tmp_path / "spm.model")
    with pytest.raises(UserError, match=r"--sentencepiece-target .*none: cannot be read .No such file"):
        joiner(tmp_path / "none", [])


@pytest.mark.parametrize("unknown", [0, 2, 3, 10])
def test_text_in_other_pieces_is_refused(unknown: int) -> None:
    lines = [["▁a"] * (10 - unknown), ["a"] * unknown]
    if unknown <= 2:
        check_pieces(lines, {"▁a"}, "CORPUS x")
        return
    with pytest.raises(
        UserError, match=rf"CORPUS x: the teacher does not know {unknown}0 % of .* give --sentencepiece,"
    ):
        check_pieces(lines, {"▁a"}, "CORPUS x")


def test_what_was_unknown_when_it_was_binarised_is_unknown() -> None:
    with pytest.raises(UserError, match="does not know 100 %"):
        check_pieces([["<unk>", "<unk>"]], {"<unk>"}, "CORPUS x")


def test_nothing_is_in_no_other_pieces() -> None:
    check_pieces([[], []], set(), "CORPUS x")


def test_the_vocabulary_of_a_model_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no CTranslate2 model folder: found no target_vocabulary.json"):
        model_symbols(tmp_path)
    (tmp_path / "shared_vocabulary.txt").write_text("<unk>\n▁a\n")
    assert "▁a" in model_symbols(tmp_path)
    (tmp_path / "target_vocabulary.json").write_text(json.dumps(["<unk>", "▁b"]))
    assert model_symbols(tmp_path) == ["<unk>", "▁b"]
