"""Tests of sections from existing files: `lskd analyze --runs` and `--hypotheses`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from records.written import write_run

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.scoring.recorded import Recorded


def result(folder: Path, role: str, bleu: float, *command: str, method: str = "none") -> None:
    words = ["fairseq-train", "bin", *command, "--save-dir", str(folder)]
    record = {"system": folder.name, "role": role, "method": method, "teacher_smoothing": 0.0, "bleu": bleu}
    (folder / "result.json").write_text(json.dumps({**record, "command": words, "checkpoint_sha256": folder.name}))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two teachers without scores, with label smoothing 0 and 0.1."""
    for smoothing, loss in ((0.0, 5.0), (0.1, 5.2)):
        points = {("train", "nll_loss"): lambda u: 9 - u / 100, ("valid", "nll_loss"): lambda u, e=loss: e + 3 / u}
        labels = {"role": "teacher", "method": "none", "teacher_smoothing": smoothing, "temperature": None}
        write_run(tmp_path / "runs" / f"teacher-{smoothing}", points, **labels)
    return tmp_path / "runs"


@pytest.fixture
def translations(tmp_path: Path) -> list[str]:
    """Flags for the long tail: one system is perfect, the other lacks the rare word."""
    for name, lines in {
        "plain": ["a rare cat"] * 9,
        "smoothed": ["a cat"] * 9,
        "references": ["a rare cat"] * 9,
        "training": ["a cat"] * 20 + ["rare"],
    }.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    flags = [f"--hypotheses={name}={tmp_path / name}" for name in ("plain", "smoothed")]
    return [*flags, f"--references={tmp_path / 'references'}", f"--training={tmp_path / 'training'}"]


def numbers(out: Path) -> dict:
    found = json.loads((out / "numbers.json").read_text(encoding="utf-8"))
    return {section["title"]: section for section in found["sections"]}


def test_curves_of_runs_without_scores(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    argv = ["analyze", "--runs", str(runs), "--out", str(out)]
    assert main(argv) == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'report.html'}\n"
    assert f"--runs {runs}: found no result.json of a student and its teacher" in said.err
    found = numbers(out)
    assert list(found) == ["Training and validation curves"]
    (claim,) = found["Training and validation curves"]["tables"]["curve_claims"]["rows"]
    assert claim["verdict"] == "held" and claim["difference"] == pytest.approx(0.2)
    points = (out / "tables/curves.csv").read_text().splitlines()[1:]
    assert len(points) == 2 * 2 * 30, "two runs with two curves of 30 points"
    assert points[0] == "teacher-0.0,train,nll_loss,10,8.9" and points[-1] == "teacher-0.1,valid,nll_loss,300,5.21"
    assert {path.stem for path in (out / "pictures").iterdir()} == {"curves"}
    assert main(argv) == 0 and capsys.readouterr().err == f"{out}: up to date\n"
    log = runs / "teacher-0.1/log.txt"
    log.write_text(log.read_text() + "\n")
    with pytest.raises(SystemExit, match=r"input runs: teacher-0.1/log.txt: SHA-256 \w+…, now SHA-256 \w+…"):
        main(argv)


def test_quality_of_scored_runs(runs: Path, tmp_path: Path) -> None:
    result(runs / "teacher-0.0", "teacher", 30.0)
    assert [s.title for s in Recorded(runs).sections()] == ["Training and validation curves"]  # no student yet
    path = runs / "teacher-0.0/checkpoint_best.pt"
    write_run(runs / "student", {("valid", "nll_loss"): lambda u: 5 + 3 / u}, role="student", method="word",
              teacher_smoothing=0.0, temperature=1.0)  # fmt: skip
    result(runs / "student", "student", 28.5, "--teacher-path", str(path), method="word")
    assert main(["analyze", "--runs", str(runs), "--out", str(tmp_path / "out")]) == 0
    found = numbers(tmp_path / "out")
    assert list(found) == ["Training and validation curves", "Teacher against student quality"]
    (row,) = found["Teacher against student quality"]["tables"]["quality"]["rows"]
    assert (row["teacher BLEU"], row["student BLEU"]) == (30.0, 28.5)
    assert "runs: student/result.json" in json.loads((tmp_path / "out/analysis.json").read_text())["inputs"]


def test_the_long_tail(translations: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    assert main(["analyze", *translations, "--out", str(out)]) == 0
    rows = numbers(out)["The long tail"]["tables"]["tail"]["rows"]
    by = {(row["system"], row["training frequency"]): row for row in rows}
    assert by["plain", "1"]["F1 (%)"] == 100 and by["smoothed", "1"]["F1 (%)"] == 0
    assert by["smoothed", "1"]["minus plain"] == -100
    # The first system is the baseline, so another order is another report.
    with pytest.raises(SystemExit, match="--hypotheses: plain smoothed, now smoothed plain"):
        main(["analyze", translations[1], translations[0], *translations[2:], "--out", str(out)])


def test_sections_are_added_to_those_of_saved_outputs(
    runs: Path, translations: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from analysis.test_saved import write

    argv = ["analyze", f"--from-npz={write(tmp_path, 'x')}", "--runs", str(runs), *translations]
    assert main([*argv, "--out", str(tmp_path / "out")]) == 0
    titles = list(numbers(tmp_path / "out"))
    assert titles[0] == "The answer" and titles[-1] == "How it was measured"
    assert titles[-3:-1] == ["Training and validation curves", "The long tail"]


def test_problems_name_the_flag(tmp_path: Path, runs: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"no run of fairseq-train.* run\.json"):
        main(["analyze", "--runs", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    (runs / "teacher-0.0/result.json").write_text("[")
    with pytest.raises(UserError, match=r"result\.json: .*expected the JSON that `lskd record`"):
        list(Recorded(runs).sections())
    found = Recorded(tmp_path / "none", ("x", "a=none", "a=b"), None, tmp_path / "none").problems()
    assert found == [
        f"--runs {tmp_path / 'none'}: no such folder",
        "--hypotheses and --training: the section on the long tail also needs --references",
        "--hypotheses x: expected NAME=FILE",
        "--hypotheses a=none: none: no such file",
        "--hypotheses a=b: b: no such file",
        "--hypotheses a=...: given 2 times",
        f"--training {tmp_path / 'none'}: no such file",
    ]
