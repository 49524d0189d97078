"""SentencePiece models that are loaded or refused."""

from __future__ import annotations

import io
from pathlib import Path

import hostile
import pytest
import sentencepiece
from hypothesis import given

from fairseq_lskd.data.sentencepiece_model import load_model
from fairseq_lskd.errors import UserError


def trained(kind: str) -> bytes:
    """A model without SentencePiece's normalisation table, which would be most of the file."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ab abc cab dog hund äpfel"] * 20 + ["dog ab"] * 9 + ["äpfel cab"] * 5),
        model_writer=model,
        model_type=kind,
        vocab_size=30,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
        num_threads=1,
    )
    return model.getvalue()


MODELS = {kind: trained(kind) for kind in ("unigram", "bpe")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a SentencePiece model .it is empty"),
        (b"text", "is not a SentencePiece model"),
        (MODELS["bpe"][:100], "is not a SentencePiece model"),
        (MODELS["bpe"].replace("▁cab".encode(), "▁c\n".encode() + b"b"), "damaged: the piece '▁c.nb'"),
        (MODELS["bpe"].replace("▁cab".encode(), "▁c".encode() + b"\xffb"), "damaged: it has a piece that is not UTF-8"),
    ],
)
def test_a_file_that_is_no_model(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "spm.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"--sentencepiece .*spm\.model.*{said}"):
        load_model(path, "--sentencepiece")


@hostile.few
@given(hostile.mutated(MODELS["unigram"]) | hostile.mutated(MODELS["bpe"]))
def test_any_bytes_in_a_model(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.model"
    path.write_bytes(content)
    model = hostile.read_or_refuse(lambda: load_model(path), path)
    if model is not None:
        pieces = model.encode("abc dog hund äpfel", out_type=str)
        assert "\n" not in model.decode_pieces(pieces) + "".join(pieces)
