"""Tests of the headline about quality, speed and size, and of the positions of labels in the plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairseq_lskd.scoring.bought import headline, models_of, plain_of
from fairseq_lskd.scoring.over_seeds import add_speeds, mean_records
from fairseq_lskd.scoring.quality_plot import HEIGHT, apart, draw


def row(system: str, seed: int, bleu: float, **more: Any) -> dict[str, Any]:
    digest = more.pop("digest", f"{system}-{seed}")
    shipped = {"bleu": bleu - 0.5, "chrf": 49.0, "bytes": 500_000, "compute_type": "int8"} | more.pop("exported", {})
    fixed = {"signature": "s", "chrf_signature": "s", "chrf": 50.0, "role": "student", "size": "student"}
    return {"system": f"{system}-s{seed}", "seed": seed, "bleu": bleu, "parameters": 250_000, **fixed} | {
        "checkpoint_sha256": digest,
        "exported": shipped,
        **more,
    }


ROWS = [
    *(
        row(f"teacher-{ls}", seed, bleu, role="teacher", method="none", size="teacher", teacher_smoothing=ls)
        | {"parameters": 1_000_000, "exported": {"bleu": bleu - 1, "bytes": 2_000_000, "compute_type": "int8"}}
        for ls, seed, bleu in ((0.0, 1, 39.0), (0.0, 2, 41.0), (0.1, 1, 50.0), (0.1, 2, 50.0))
    ),
    *(row("student", seed, 30.0, method="none") for seed in (1, 2)),
    *(
        row("seq", seed, bleu, method="sequence", teacher_sha256=[f"teacher-0.0-{seed}"])
        for seed, bleu in ((1, 37.0), (2, 39.0))
    ),
]
SPEEDS = {
    "machine": {"gpus": ["a GPU"], "cpu": "A CPU"},
    "device": "cpu",
    "threads": 1,
    "systems": {
        "teacher-0.0-s1": {
            "sentences_per_second": 10.0,
            "others_cores": 0.0,
            "exported": {"sentences_per_second": 40.0},
        },
        "seq-s1": {
            **{"sentences_per_second": 20.0, "others_cores": 0.02},
            "exported": {"sentences_per_second": 100.0, "others_cores": 0.3},
        },
    },
}


@pytest.fixture
def means() -> list[dict[str, Any]]:
    rows = [dict(each) for each in ROWS]
    add_speeds(rows, SPEEDS)
    return mean_records(rows)


def test_exported_facts_are_means_over_seeds(means: list[dict[str, Any]]) -> None:
    seq = means[-1]
    assert seq["exported"]["bleu"] == 37.5 and seq["exported"]["bleu_std"] == pytest.approx(2**0.5)
    assert (seq["exported"]["bytes"], seq["exported"]["sentences_per_second"]) == (500_000, 100.0)
    # The larger number of busy cores; and the CPU, although the machine has a GPU.
    assert seq["speed_others_cores"] == 0.3 and seq["speed_machine"] == "A CPU, 1 thread"
    assert "sentences_per_second" not in ROWS[-1]["exported"]


def test_each_model_has_two_points(means: list[dict[str, Any]]) -> None:
    models = models_of(means)
    assert [(model.name, model.kind) for model in models] == [
        ("teacher-0.0", "teacher"),
        ("teacher-0.1", "teacher"),
        ("student", "none"),
        ("seq", "sequence"),
    ]
    seq = models[-1]
    # Four bytes per parameter; t(0.975, 1) is 12.706, and s / sqrt(n) is 1.
    assert (seq.fairseq.rate, seq.fairseq.megabytes) == (20.0, 1.0)
    assert seq.fairseq.half == pytest.approx(12.706, abs=1e-3)
    assert seq.exported is seq.best and (seq.best.rate, seq.best.megabytes) == (100.0, 0.5)
    assert models[2].best.rate is None and models[2].exported and models[2].fairseq.half == 0


def test_an_interval_of_exports_is_over_the_seeds_that_were_exported() -> None:
    rows = [row("seq", seed, bleu, method="sequence") for seed, bleu in ((1, 37.0), (2, 39.0), (3, 38.0))]
    del rows[2]["exported"]
    (model,) = models_of(mean_records(rows))
    assert model.fairseq.half == pytest.approx(4.303 / 3**0.5, abs=1e-3)  # t(0.975, 2) s / sqrt(3), s = 1
    assert model.exported and model.exported.half == pytest.approx(12.706, abs=1e-3)  # of two seeds


def test_headline(means: list[dict[str, Any]]) -> None:
    # Compared with its own teacher, not the best: 37.5 / 40, 100 / 10, 100 / 40 and 0.5 / 4.
    assert headline(means) == (
        "seq in int8: 10.0 x the speed of its teacher (2.5 x the teacher in int8), 12 % of its size, 94 % of its BLEU"
    )
    assert (plain_of(means[-1], means) or {})["system"] == "student"
    bare = [{key: value for key, value in each.items() if key != "exported"} for each in means]
    assert headline(bare) == "seq: 2.0 x the speed of its teacher, 25 % of its size, 95 % of its BLEU"
    slow = [{key: value for key, value in each.items() if key != "sentences_per_second"} for each in bare]
    assert headline(slow) == "seq: 25 % of its teacher's size, 95 % of its BLEU"
    assert headline(means[:3]) == headline(means[2:]) == ""


def test_a_picture_without_title_and_headline(means: list[dict[str, Any]], tmp_path: Path) -> None:
    draw(means[:3], tmp_path / "quality.svg")
    assert "<svg" in (tmp_path / "quality.svg").read_text(encoding="utf-8")


def test_a_record_without_exports_has_one_point() -> None:
    (model,) = models_of([{"system": "a", "bleu": 3.0, "exported": None}])
    assert model.exported is None and model.best is model.fairseq and model.fairseq.megabytes is None
    assert models_of([{"system": "a", "bleu": None}]) == []


@pytest.mark.parametrize("seed", range(50))
def test_labels_are_apart_and_in_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    wanted = list(chance.uniform(-100, 400, size=chance.integers(1, 21)))
    low, high = 0.0, 20 * HEIGHT
    places = np.array(apart(wanted, HEIGHT, low, high))
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= HEIGHT - 1e-6).all()
    assert places.min() >= low - 1e-6 and places.max() <= high + 1e-6


def test_labels_move_as_little_as_possible() -> None:
    assert apart([50.0, 10.0], 10, 0, 100) == [50, 10]
    assert apart([20.0, 20.0, 20.0], 10, 0, 100) == [10, 20, 30]
    # A group in the middle does not move the others.
    assert apart([80.0, 20.0, 22.0], 10, 0, 100) == [80, 16, 26]
    assert apart([0.0, 0.0, 99.0], 10, 0, 100) == [0, 10, 99]
