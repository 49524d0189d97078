"""Every recipe: fairseq-train accepts its options, and its models have the size that the paper reports."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks.translation import TranslationTask

from fairseq_lskd.teachers.checkpoint import is_weight

RECIPES = Path(__file__).resolve().parents[2] / "scripts" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.sh"))
#: Millions of parameters with the 37,000 types of Vaswani et al., who have 65 and 213.
SIZES = {
    "wmt14-en-de-base": (63, 42),
    "wmt14-en-de-big": (214, 63),
    "wmt14-en-fr-base": (63, 42),
    "wmt14-en-fr-big": (214, 63),
    "wmt16-en-ro-base": (63, 42),
}


def read(name: str, *words: str) -> list[str]:
    """Expand these words in bash after sourcing the recipe."""
    shown = " ".join(f'"{word}"' for word in words)
    code = f'set -eu; root={RECIPES.parents[1]} batches=1 average=3 precision=(); . "{RECIPES}/{name}.sh"; '
    done = subprocess.run(["bash", "-c", f"{code} printf '%s\\n' {shown}"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def configuration(name: str, size: str):
    words = read(name, f"${{{size}_model[@]}}", "${training[@]}", "${precision[@]}")
    arguments = ["data", "--criterion", "label_smoothed_cross_entropy", *filter(None, words)]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


@pytest.mark.parametrize("size", ["teacher", "student"])
@pytest.mark.parametrize("name", NAMES)
def test_fairseq_takes_the_options_and_builds_the_model(name: str, size: str) -> None:
    found = configuration(name, size)
    types = Dictionary()
    for i in range(37_000 - types.nspecial):
        types.add_symbol(f"type{i}")
    with torch.device("meta"):  # shapes, no memory
        model = TranslationTask(found.task, types, types).build_model(found.model)
    assert model.encoder.embed_tokens is model.decoder.embed_tokens
    if name in SIZES:
        count = sum(parameter.numel() for part, parameter in model.named_parameters() if is_weight(part))
        assert round(count / 1e6) == SIZES[name][size == "student"]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_decoding(name: str) -> None:
    teacher, student, batches, average = map(
        int, read(name, "$teacher_updates", "$student_updates", "${teacher_batches:-$batches}", "$average")
    )
    assert teacher > 0 and student > 0 and average > 0
    assert batches & (batches - 1) == 0, "1, 2, 4, 8 and more GPUs can share it"
    decoding = read(name, "${decoding[@]}")
    args = options.parse_args_and_arch(options.get_generation_parser(), ["data", "--path", "x.pt", *decoding])
    assert args.beam in ((2,) if name == "smoke" else (4, 5))


@pytest.mark.parametrize("name", NAMES)
def test_there_are_checkpoints_to_average(name: str) -> None:
    found = configuration(name, "teacher").checkpoint
    kept = found.keep_interval_updates if found.save_interval_updates else found.keep_last_epochs
    assert kept >= int(read(name, "$average")[0])
