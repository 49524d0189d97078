"""Corpora to translate: text files and splits of binarised data."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from fairseq_lskd.errors import UserError
from fairseq_lskd.sequences.corpus import open_corpus


def test_plain_and_gzipped_text_are_read_alike(tmp_path: Path) -> None:
    text = "eins\n\nzwei\u2028x\r\ndrei"
    (tmp_path / "a.de").write_bytes(text.encode())
    (tmp_path / "b.de.gz").write_bytes(gzip.compress(text.encode()))
    corpora = [open_corpus(tmp_path / name) for name in ("a.de", "b.de.gz")]
    for corpus in corpora:
        assert corpus.sentences == 4
        assert list(corpus.read(0, 4)) == ["eins", "", "zwei\u2028x", "drei"]
        assert list(corpus.read(2, 3)) == ["zwei\u2028x"]
    assert corpora[0].digest == corpora[1].digest
    (tmp_path / "a.de").write_text("eins\n")
    assert open_corpus(tmp_path / "a.de").digest != corpora[0].digest


@pytest.mark.parametrize(("content", "said"), [(b"", "a.de.*empty"), (b"gr\xfcn\n", "a.de: line 1 .*UTF-8.*0xfc")])
def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.de").write_bytes(content)
    with pytest.raises(UserError, match=said):
        open_corpus(tmp_path / "a.de")
    with pytest.raises(UserError, match=r"--subset train .*binarised data.*a.de is a file"):
        open_corpus(tmp_path / "a.de", "train")


def test_a_changed_text_is_detected_but_the_same_text_written_again_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.de"
    path.write_text("eins\nzwei\n")
    corpus = open_corpus(path)
    path.write_text("eins\nzwei\n")
    corpus.check_unchanged()
    path.write_text("eins\n")
    with pytest.raises(UserError, match=r"a\.de.*\b2 lines.*\b1\b"):
        corpus.check_unchanged()
    path.unlink()
    with pytest.raises(UserError, match=r"a\.de.*\b2 lines.*\b0\b"):
        corpus.check_unchanged()


class TestBinarised:
    def test_a_split_yields_its_source_side_in_pieces(self, bitext: Path) -> None:
        lines = (bitext.parent / "train.de").read_text().splitlines()
        corpus = open_corpus(bitext)
        assert list(corpus.read(0, corpus.sentences)) == lines
        assert list(corpus.read(7, 9)) == lines[7:9]
        assert list(corpus.read(55, 99)) == lines[55:]
        assert open_corpus(bitext, "valid").sentences == 9
        assert open_corpus(bitext, "valid").digest != corpus.digest

    def test_source_lang_selects_the_other_side(self, bitext: Path) -> None:
        corpus = open_corpus(bitext, "train", "en")
        assert list(corpus.read(0, 1)) == (bitext.parent / "train.en").read_text().splitlines()[:1]

    def test_missing_and_ambiguous_splits_are_refused(self, bitext: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no split 'test'.*test\.SOURCE-TARGET\.SOURCE\.idx") as caught:
            open_corpus(bitext, "test")
        assert "found 'train.de-en, valid.de-en'" in str(caught.value)
        with pytest.raises(UserError, match="no split 'train' in fr"):
            open_corpus(bitext, "train", "fr")
        data = tmp_path / "bin"
        shutil.copytree(bitext, data)
        (data / "dict.de.txt").unlink()
        with pytest.raises(UserError, match=r"found train\.de-en\.de\.idx, but no dict\.de\.txt"):
            open_corpus(data)
        for kind in ("bin", "idx"):
            shutil.copy(data / f"train.de-en.de.{kind}", data / f"train.de-fr.de.{kind}")
        with pytest.raises(UserError, match=r"more than one split 'train' \(train.de-en.de, train.de-fr.de\)"):
            open_corpus(data, "train", "de")

    def test_the_folder_above_is_named_with_the_one_to_give(self, bitext: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="found no split"):
            open_corpus(tmp_path)
        (tmp_path / "bin").symlink_to(bitext)
        with pytest.raises(UserError, match=f"{tmp_path} has no binarised data, but {tmp_path}/bin has. Name"):
            open_corpus(tmp_path)
