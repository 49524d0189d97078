"""fairseq-train names the way out for the first mistakes with the plug-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairseq_lskd.compat.plugin_hints import hint, whole_folder

from .conftest import TRAIN, fairseq

FOLDER = Path(__file__).parents[2] / "fairseq_lskd"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--criterion", "word_kd"], f"--user-dir {FOLDER}"),
        (["--criterion", "word_kd", "--user-dir", "fairseq_lskd"], f"--user-dir {FOLDER}"),
        (
            ["--criterion", "word_kd", "--user-dir", str(FOLDER), "--arch", "transformer", "--kd-weigth", "1"],
            "--kd-weigth: did you mean --kd-weight? `lskd criterion word_kd`",
        ),
        (
            ["--criterion=word_kd", f"--user-dir={FOLDER}", "--arch=transformer", "--update-frq", "2"],
            "--update-frq: did you mean --update-freq? `lskd criterion word_kd`",
        ),
    ],
)
def test_the_message_names_the_way_out(options: list[str], named: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fairseq_cli.train", "data", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0 and named in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


@pytest.mark.parametrize("given", [["--user-dir", "mine"], ["--user-dir=mine"]])
def test_a_folder_that_does_not_import_ours_is_told_the_line(given: list[str]) -> None:
    said = hint("argument --criterion: invalid choice", ["data", *given, "--criterion", "seq_kd"])
    assert said and said.endswith("Add the line `import fairseq_lskd.criterions` to mine/__init__.py")
    ours = hint("argument --criterion: invalid choice", ["--user-dir", str(FOLDER), "--criterion=seq_kd"])
    assert ours and ours.endswith(f"Give --user-dir {FOLDER}")


def test_the_hint_is_about_the_criterion_that_runs() -> None:
    message = "unrecognized arguments: --label-smoothing 0.1"
    ours, word = ["--criterion", "label_smoothed_teacher"], ["--criterion=word_kd"]
    said = hint(message, [*ours, "--label-smoothing", "0.1", "--criterion", "cross_entropy"])
    assert said and said.startswith(
        "--criterion cross_entropy comes last, so that it replaces --criterion label_smoothed_teacher. Leave out "
    )
    assert hint(message, [*ours, *word]) == "`lskd criterion word_kd` prints the options of word_kd"
    said = hint(message, [*word, *ours])
    assert said == "`lskd criterion label_smoothed_teacher` prints the options of label_smoothed_teacher"
    assert hint(message, ["--criterion", "cross_entropy", "--save-dir", "word_kd"]) is None


def test_options_that_a_misspelt_one_may_mean() -> None:
    message, words = "unrecognized arguments: --kd-wieght=1 --tempo 2 3", ["--criterion=word_kd"]
    said = hint(message, words, ["--kd-weight", "--kd-temperature", "--lr"])
    assert said == "--kd-wieght: did you mean --kd-weight? `lskd criterion word_kd` prints the options of word_kd"


def test_fp16_on_a_cpu(data: Path, tmp_path: Path) -> None:
    done = fairseq("train", data, *(word for word in TRAIN if word != "--cpu"), "--fp16", "--save-dir", tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--fp16 needs a GPU. Leave it out on a CPU" in done.stderr.splitlines()[-1]


def test_fairseq_validate_without_a_task(tmp_path: Path) -> None:
    done = fairseq("validate", tmp_path, "--path", "none.pt")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "--task translation" in done.stderr.splitlines()[-1]
    assert fairseq("validate", "--help").returncode == 0


def test_other_mistakes_get_no_hint() -> None:
    assert hint("unrecognized arguments: --beem 5", ["--criterion", "cross_entropy"]) is None
    assert hint("argument --lr: invalid float value", ["--criterion", "word_kd"]) is None


@pytest.mark.parametrize(("manifest", "data"), [("select.json", "data-bin"), ("pieces/encode.json", "bin")])
def test_the_folder_around_the_data(manifest: str, data: str, tmp_path: Path) -> None:
    (tmp_path / data).mkdir()
    (tmp_path / manifest).parent.mkdir(exist_ok=True)
    (tmp_path / manifest).touch()
    given, right = str(tmp_path), tmp_path / data
    assert whole_folder([given, "--fp16"]) == (given, right)
    assert whole_folder(["--seed", "1", f"other:{given}"]) == (given, right)
    for words in ([str(right)], ["data", "--save-dir", given], ["--user-dir", given], []):
        assert whole_folder(words) is None
    command = [sys.executable, "-m", "fairseq_cli.train", given, "-s", "de", "-t", "en"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith(f" {right}")
    assert given in done.stderr and "Traceback" not in done.stderr
