"""Options that criterions share, and their checks; a mistake ends the command before training starts."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import II

from ..errors import UserError

SMOOTHING_PRIORS = ChoiceEnum(["uniform", "unigram"])
LOSS_FORMS = ChoiceEnum(["auto", "fused", "plain"])


@dataclass
class SmoothingConfig(FairseqDataclass):
    label_smoothing: float = field(
        default=0.1,
        metadata={"help": "alpha: the share of the target's probability given to the smoothing prior; 0 is none"},
    )
    smoothing_prior: SMOOTHING_PRIORS = field(  # type: ignore[valid-type]  # an enum that fairseq makes at run time
        default="uniform",
        metadata={
            "help": "uniform: alpha / (K - 1) on every other type (fairseq's own label smoothing); "
            "unigram: alpha times the relative frequency of each type in the training target"
        },
    )
    ignore_prefix_size: int = field(
        default=0, metadata={"help": "leave the first N target tokens out of the loss (a language tag, say)"}
    )
    loss_form: LOSS_FORMS = field(  # type: ignore[valid-type]
        default="auto",
        metadata={
            "help": "fused: projection, loss and gradient in chunks, without any [tokens x vocabulary] tensor; "
            "plain: on whole tensors, as fairseq does; auto: fused where the models have a plain output projection"
        },
    )
    sentence_avg: bool = II("optimization.sentence_avg")


@dataclass
class TeacherTrainingConfig(SmoothingConfig):
    report_stability: bool = field(
        default=False,
        metadata={
            "help": "log intra_class_variance on validation: 1 - S, the paper's measure of erased information, over "
            "target types that occur 5 times and more (lower: more is erased; estimated if the vocabulary is large)"
        },
    )


def check_smoothing(cfg: Any) -> list[str]:
    """What is wrong with the options of `SmoothingConfig`, a line each."""
    problems = []
    if not 0 <= cfg.label_smoothing < 1:
        problems.append(f"--label-smoothing {cfg.label_smoothing}: expected a number in [0, 1)")
    if cfg.ignore_prefix_size < 0:
        problems.append(f"--ignore-prefix-size {cfg.ignore_prefix_size}: expected 0 or more")
    return problems


@contextlib.contextmanager
def remembered(*paths: str | None, overrides: str) -> Iterator[None]:
    """Say the way out where a file is gone that a trained student's checkpoint remembers.

    Args:
        overrides: of --model-overrides, what does without it.
    """
    try:
        yield
    except UserError as error:
        if all(Path(part).exists() for path in paths if path for part in path.split(":")):
            raise
        raise UserError(
            f"{error}\n  If it was moved, give its new place. A trained student is validated without it by "
            f'fairseq-validate --model-overrides "{overrides}"'
        ) from None


def raise_for(problems: list[str]) -> None:
    """Raise one `UserError` that says all of `problems`."""
    if problems:
        raise UserError("\n  ".join(["", *problems]) if len(problems) > 1 else problems[0])
