"""Tests of counting the parameters that a model uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import multilingual
import pytest
import torch
from tiny import batch, binarise, make_model, make_task

from fairseq_lskd.records.parameters import count_parameters
from fairseq_lskd.teachers.checkpoint import is_weight, read_archive


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Binarised data with one dictionary for both languages."""
    return binarise(tmp_path_factory.mktemp("joined"), "--joined-dictionary")


def used(model: Any, sample: dict[str, Any]) -> int:
    """Count the parameters that get a gradient in a training step, shared ones once."""
    model.train()
    model(**sample["net_input"])[0].logsumexp(-1).sum().backward()
    return sum(weight.numel() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--share-all-embeddings",
        "--share-decoder-input-output-embed",
        "--share-all-embeddings --encoder-layers 3 --decoder-layers 2",
        "--share-all-embeddings --encoder-learned-pos --decoder-learned-pos --layernorm-embedding",
        "--encoder-normalize-before --decoder-normalize-before",
        "--decoder-embed-dim 24 --decoder-ffn-embed-dim 40",
        "--arch transformer_iwslt_de_en --share-all-embeddings",
    ],
)
def test_all_parameters_with_a_gradient_count(flags: str, joined: Path) -> None:
    task = make_task(joined, *flags.split())
    model = make_model(task, *flags.split())
    assert count_parameters(model.state_dict()) == used(model, batch(task, range(8)))


def test_tying_saves_two_matrices(joined: Path) -> None:
    task = make_task(joined)
    untied = count_parameters(make_model(task).state_dict())
    tied = count_parameters(make_model(task, "--share-all-embeddings").state_dict())
    assert untied - tied == 2 * len(task.target_dictionary) * 16


def test_a_checkpoint_counts_as_its_model(teacher_path: Path, bitext: Path) -> None:
    from tiny import WIDER

    task = make_task(bitext, *WIDER)
    model = make_model(task, *WIDER)
    assert count_parameters(read_archive(teacher_path)["model"]) == used(model, batch(task, range(8)))


@pytest.mark.parametrize("flags", ["", "--share-encoders", "--share-decoders", "--share-decoder-embeddings"])
def test_what_language_pairs_share_counts_once(flags: str, tmp_path: Path) -> None:
    """A multilingual_transformer lists it once for each pair. Without a flag, the pairs share the decoder of en."""
    name = "multilingual_translation"
    words, data = multilingual.BY_TASK[name], multilingual.binarise_pairs(tmp_path)
    kind = (*multilingual.MODELS[name], *flags.split())
    model = multilingual.make_model(multilingual.make_task(data, *words), data, *words, model=kind)
    saved = {name: weight.clone() for name, weight in model.state_dict().items()}  # a GPU's checkpoint has copies
    # named_parameters has every parameter once.
    used = sum(weight.numel() for name, weight in model.named_parameters() if is_weight(name))
    assert count_parameters(saved) == used < sum(weight.numel() for name, weight in saved.items() if is_weight(name))


def test_equal_matrices_other_than_embeddings_count_each() -> None:
    layer = torch.zeros(3, 3)
    assert count_parameters({"decoder.layers.0.fc1.weight": layer, "decoder.layers.1.fc1.weight": layer.clone()}) == 18
