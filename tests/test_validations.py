"""Wrong validation options are refused before a training starts."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.validations import check_validation

BLEU = "--eval-bleu --best-checkpoint-metric bleu --maximize-best-checkpoint-metric"


def said(words: str, program: str = "fairseq-train") -> str:
    """Return the error message for a command; an empty string if the command passes."""
    try:
        check_validation([*program.split(), *shlex.split(words)])
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "words",
    [
        "data",
        "data --patience -1 --disable-validation",
        "data --patience 3",
        "data --patience 3 --max-update 9",  # validates at the end of each epoch, which may be short
        "data --patience 3 --max-update 100 --save-interval-updates 100 --validate-interval 1000",
        "data --patience 3 --max-update 100 --save-interval-updates 500",
        "data --patience 3 --max-update 100 --save-interval-updates 500 --validate-interval-updates 50 "
        "--validate-interval 9",
        "data --patience 3 --max-update 0 --save-interval-updates 500 --validate-interval 9",
        f"data --patience=3 {BLEU}",
        "data --best-checkpoint-metric ppl",
        "data --best-checkpoint-metric of_mine --criterion of_mine",
    ],
)
def test_valid_options_pass(words: str) -> None:
    assert said(words) == ""


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        *((f"data --patience {word}", [f"--patience {word}:", "1 or more"]) for word in ("0", "many", "2.5")),
        ("data --patience 3 --patience 0", ["--patience 0:"]),
        ("data --patience 3 --disable-validation", ["--patience 3", "--disable-validation", "--patience -1"]),
        (
            "data --patience 3 --max-update 100 --save-interval-updates 500 --validate-interval 1000",
            ["--patience 3", "--save-interval-updates 500", "--max-update 100"],
        ),
        (
            "data --patience 3 --max-update 100 --save-interval-updates 500 --validate-interval-updates=200 "
            "--validate-interval 9",
            ["--save-interval-updates 500 --validate-interval-updates 200", "--max-update 100"],
        ),
        ("data --patience 3 --max-update 100 --validate-interval 1000", ["--validate-interval 1000", "100"]),
        ("data --patience 3 --max-update 100 --validate-after-updates 200", ["--validate-after-updates 200", "100"]),
        ("data --best-checkpoint-metric bleu", ["--eval-bleu"]),
        ("data --eval-bleu --best-checkpoint-metric bleu", ["--maximize-best-checkpoint-metric"]),
        ("data --best-checkpoint-metric ppl --maximize-best-checkpoint-metric", ["ppl", "--maximize-best"]),
        ("data --criterion word_kd --best-checkpoint-metric nll", ["--best-checkpoint-metric nll", "nll_loss", "bleu"]),
    ],
)
def test_options_without_effect_are_refused(words: str, facts: list[str]) -> None:
    for program in ("fairseq-train", "torchrun --standalone --nproc_per_node 2 -m fairseq_cli.train"):
        found = said(words, program)
        assert all(fact in found for fact in facts), found


def test_other_commands_pass() -> None:
    assert said("data --patience 0", "fairseq-generate") == said("checkpoint.patience=0", "fairseq-hydra-train") == ""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("train.de-en.de", "train.de-en.en", "valid.de-en.de", "valid.de-en.en"):
        (tmp_path / f"{name}.idx").touch()
    return tmp_path


def test_the_validation_set_must_exist(data: Path) -> None:
    pair = "-s de -t en --patience 3"
    assert said(f"{data} {pair}") == said(f"{data}:elsewhere {pair}") == ""
    # The same files are used for the other direction.
    assert said(f"{data} --source-lang en --target-lang de") == ""
    assert "'dev' does not exist" in said(f"{data} {pair} --valid-subset valid,dev")
    (data / "valid.de-en.en.idx").unlink()
    found = said(f"{data} {pair}")
    assert "'valid' has no references" in found and "valid.de-en.en.idx" in found and str(data) in found
    assert said(f"{data} -s de -t en --disable-validation") == ""
    assert said(f"{data} {pair} --task of_mine") == ""
    (data / "valid.de-en.de.idx").unlink()
    assert "'valid'" in said(f"{data} {pair}") and "valid.de-en" in said(f"{data} {pair}")


def test_lskd_run_checks_before_it_writes(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--patience 0"):
        main(["run", "--out", str(tmp_path / "out"), "--", "fairseq-train", str(data), "--patience", "0"])
    assert not (tmp_path / "out").exists()
