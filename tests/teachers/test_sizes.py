"""Checkpoints with options for a larger model than their weights are refused before a model is built."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers.alone import load_teacher
from fairseq_lskd.teachers.checkpoint import read_archive
from fairseq_lskd.teachers.sizes import too_large

WEIGHTS = {
    "encoder.embed_tokens.weight": torch.zeros(10, 16),
    "encoder.layers.0.fc1.weight": torch.zeros(32, 16),
    "encoder.layers.1.fc1.weight": torch.zeros(32, 16),
    "decoder.layers.0.fc1.weight": torch.zeros(8, 16),
    "version": 3,
}
FITTING = {"encoder_layers": 2, "decoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 32}


@pytest.mark.parametrize("form", [dict, OmegaConf.create, lambda options: Namespace(**options)])
def test_options_of_every_form(form) -> None:
    assert too_large(form(FITTING), WEIGHTS) == []
    (problem,) = too_large(form(FITTING | {"encoder_layers": 1_000_000}), WEIGHTS)
    assert "--encoder-layers 1,000,000" in problem and "2" in problem


@pytest.mark.parametrize(
    ("changed", "flag"),
    [
        ({"encoder_embed_dim": 17}, "--encoder-embed-dim 17"),
        ({"encoder_ffn_embed_dim": 33}, "--encoder-ffn-embed-dim 33"),
        ({"some_layers": 6}, "--some-layers 6"),
        ({"conv_dim": 10**6}, "--conv-dim 1,000,000"),
        ({"decoder_attention_heads": 10**9}, "--decoder-attention-heads 1,000,000,000"),
        ({"max_source_positions": 10**9}, "--max-source-positions 1,000,000,000"),
        ({"encoder": {"layers": 3}}, "--encoder-layers 3"),
    ],
)
def test_options_that_are_too_large(changed: dict, flag: str) -> None:
    (problem,) = too_large(FITTING | changed, WEIGHTS)
    assert flag in problem


UNKNOWN = {"encoder_layers": "many", "conv_dim": None, "max_source_positions": 1024, "all_gather_list_size": 16384}


@pytest.mark.parametrize("options", [None, {}, UNKNOWN])
def test_options_without_a_size(options) -> None:
    assert too_large(options, WEIGHTS) == too_large(options, {}) == []


def test_an_interpolated_value() -> None:
    options = OmegaConf.create({"encoder_layers": "${none}", "decoder_layers": 9})
    assert len(too_large(options, WEIGHTS)) == 1


def test_a_million_layers_are_not_built(teacher_path: Path, tmp_path: Path) -> None:
    state = read_archive(teacher_path)
    state["cfg"]["model"].decoder_layers = 1_000_000
    path = tmp_path / "large.pt"
    torch.save(state, path)
    with pytest.raises(UserError, match=r"large\.pt .*--decoder-layers 1,000,000.* 2 at most"):
        load_teacher(str(path), str(teacher_path.parent))
