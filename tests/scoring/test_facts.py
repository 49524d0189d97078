"""A record says how a model was trained by its checkpoint, not by what somebody called it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.facts import Budget, budget_of, described, facts_of
from fairseq_lskd.teachers.checkpoint import read_checkpoint

WORD = {"_name": "word_kd", "teacher_path": "a.pt", "teacher_cache": None, "kd_temperature": 3.0, "kd_weight": 0.5}


def trained(path: Path, out: Path, **criterion: Any) -> Path:
    """The checkpoint as if its training had been that of this criterion."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["criterion"] = criterion
    state["cfg"]["common"] = {"seed": 7}
    torch.save(state, out / "checkpoint.pt")
    return out / "checkpoint.pt"


@pytest.mark.parametrize(
    ("criterion", "role", "wanted"),
    [
        (WORD, "student", {"method": "word", "temperature": 3.0, "kd_weight": 0.5, "cached": False}),
        (
            WORD | {"teacher_path": None, "teacher_cache": "c", "kd_divergence": "reverse_kl", "label_smoothing": 0.1},
            None,
            {"method": "word", "temperature": 3.0, "kd_weight": 0.5, "cached": True}
            | {"divergence": "reverse_kl", "label_smoothing": 0.1},
        ),
        (
            {"_name": "seq_kd", "teacher_path": None, "kd_temperature": 1.0, "reference_weight": 0.3},
            "student",
            {"method": "sequence", "reference_weight": 0.3},
        ),
        (
            {"_name": "seq_kd", "teacher_path": None, "teacher_cache": "c", "kd_temperature": 1.0},
            "student",
            {"method": "both", "temperature": 1.0, "cached": True},
        ),
        ({"_name": "label_smoothed_teacher", "label_smoothing": 0.1}, "teacher", {"teacher_smoothing": 0.1}),
        ({"_name": "label_smoothed_teacher", "label_smoothing": 0.1}, "student", {}),
    ],
)
def test_facts(teacher_path: Path, tmp_path: Path, criterion: dict[str, Any], role: str | None, wanted: Any) -> None:
    cfg = read_checkpoint(trained(teacher_path, tmp_path, **criterion))["cfg"]
    assert facts_of(cfg, role) == {"seed": 7, **wanted}


def test_labels_that_are_right_stay_as_they_were_written(teacher_path: Path, tmp_path: Path) -> None:
    checkpoint = trained(teacher_path, tmp_path, **WORD)
    found = described(checkpoint, {"size": "student", "temperature": 3, "kd_weight": None})
    assert found == {
        **{"size": "student", "temperature": 3, "kd_weight": 0.5, "method": "word", "cached": False, "seed": 7}
    }


@pytest.mark.parametrize(
    ("label", "said"),
    [({"temperature": 1.0}, "temperature 3.0 (label: 1.0)"), ({"method": "both"}, "method word (label: both)")],
)
def test_a_label_that_contradicts_is_refused(teacher_path: Path, tmp_path: Path, label: Any, said: str) -> None:
    checkpoint = trained(teacher_path, tmp_path, **WORD)
    with pytest.raises(UserError) as caught:
        described(checkpoint, label)
    assert said in str(caught.value) and str(checkpoint) in str(caught.value)


def test_the_budget_of_a_training() -> None:
    saved = {"patience": 8, "best_checkpoint_metric": "bleu", "maximize_best_checkpoint_metric": True}
    cfg = {
        "checkpoint": SimpleNamespace(**saved),
        "optimization": SimpleNamespace(max_update=1200),
        "dataset": SimpleNamespace(valid_subset="dev,valid"),
    }
    assert budget_of(cfg) == Budget(1200, 8, "bleu", True, "dev")
    # fairseq's numbers for no limit, values of no kind that is known, and a checkpoint that says nothing.
    cfg = {"checkpoint": SimpleNamespace(patience=-1), "optimization": SimpleNamespace(max_update=0)}
    odd = {"checkpoint": SimpleNamespace(patience="8", best_checkpoint_metric=3)}
    assert budget_of(cfg) == budget_of(odd) == budget_of({}) == Budget(None, None, "loss", False, "valid")
