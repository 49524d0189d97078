"""`lskd analyze` of tiny teachers, from checkpoints to the report, and its errors."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sized
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis_reference import distance, intra_class_variance, mean, variances
from tiny import batch, logits, make_task
from tqdm import tqdm

from fairseq_lskd.cli import main
from fairseq_lskd.measuring import study

pytest.importorskip("matplotlib")
tqdm.monitor_interval = 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import binarise

    return binarise(tmp_path_factory.mktemp("analysed"))


def relabelled(path: Path, folder: Path, name: str, **criterion: object) -> Path:
    """Copy a checkpoint and its dictionaries, with another criterion in its record."""
    (folder / name).mkdir()
    for dictionary in path.parent.glob("dict.*.txt"):
        shutil.copy(dictionary, folder / name)
    state = torch.load(path, weights_only=True)
    state["cfg"]["criterion"] = criterion
    torch.save(state, folder / name / "checkpoint_best.pt")
    return folder / name / "checkpoint_best.pt"


@pytest.fixture(scope="module")
def teachers(data: Path) -> list[Path]:
    """Teachers with label smoothing 0.0 and 0.1 in their records."""
    from trained import trained_teacher

    paths = [trained_teacher(data, seed=seed, updates=60) for seed in (1, 2)]
    return [
        relabelled(path, data.parent, f"labelled-{alpha}", _name="label_smoothed_teacher", label_smoothing=alpha)
        for path, alpha in zip(paths, (0.0, 0.1), strict=True)
    ]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def words(data: Path, teachers: list[Path], *flags: str) -> list[str]:
    return [
        "analyze",
        *(w for t in teachers for w in ("--teacher", str(t))),
        "--data",
        str(data),
        "--out",
        "out",
        *flags,
    ]


def refused(argv: list[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert isinstance(caught.value.code, str) and caught.value.code.startswith("lskd analyze: error: ")
    return caught.value.code.removeprefix("lskd analyze: error: ")


def rows(name: str, folder: str = "out") -> list[dict[str, str]]:
    with Path(folder, "tables", f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def analysed(data: Path, teachers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on both teachers. The smoothed one is given first."""
    folder = tmp_path_factory.mktemp("report") / "out"
    assert main([*words(data, teachers[::-1], "--min-count", "2"), "--out", str(folder)]) == 0
    return folder


def distributions(data: Path, path: Path, split: str = "valid") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probabilities, targets and penultimate activations of a checkpoint, in one batch."""
    from fairseq import models

    from fairseq_lskd.teachers.checkpoint import read_checkpoint

    task, state = make_task(data), read_checkpoint(path)
    model = models.build_model(state["cfg"]["model"], task).eval()
    model.load_state_dict(state["model"])
    sample = batch(task, range(len(task.dataset(split))), split)
    keep = sample["target"].ne(task.target_dictionary.pad())
    with torch.no_grad():
        hidden = model(**sample["net_input"], features_only=True)[0]
        return logits(model, sample)[keep].double().softmax(-1), sample["target"][keep], hidden[keep]


def test_numbers_are_those_of_naive_loops(data: Path, teachers: list[Path], analysed: Path) -> None:
    symbols = make_task(data).target_dictionary
    for row, path in zip(rows("stability", str(analysed)), teachers, strict=True):
        probs, target, _ = distributions(data, path)
        assert float(row["1 - S"]) == pytest.approx(intra_class_variance(probs, target, 2), abs=1e-6)
        assert int(row["K types"]) == len(variances(probs, target, 2))
        assert float(row["low"]) <= float(row["1 - S"]) <= float(row["high"])
        each = {symbols[kind]: value for kind, value in variances(probs, target, 2).items()}
        by_type = {line["type"]: float(line[row["teacher"]]) for line in rows("stability-by-type", str(analysed))}
        assert by_type == pytest.approx(each, abs=1e-6)
        found = next(line for line in rows("calibration", str(analysed)) if line["teacher"] == row["teacher"])
        assert float(found["NLL (nats)"]) == pytest.approx(
            -probs[torch.arange(len(target)), target].log().mean().item()
        )
        assert float(found["accuracy"]) == pytest.approx((probs.argmax(1) == target).double().mean().item())
        assert int(found["tokens"]) == len(target)


def test_distances_of_the_projection_are_those_of_naive_loops(data: Path, teachers: list[Path], analysed: Path) -> None:
    symbols = make_task(data).target_dictionary
    names = list(dict.fromkeys(line["type"] for line in rows("projection-points", str(analysed))))
    assert len(names) == 3 and symbols.eos_word not in names
    _, target, hidden = distributions(data, teachers[1])
    parts = [hidden[target == symbols.index(name)].double().tolist() for name in names]
    centres = [mean(part) for part in parts]
    row = next(
        line
        for line in rows("projection", str(analysed))
        if (line["teacher"], line["split"], line["space"]) == ("LS 0.1", "valid", "all dimensions")
    )
    for i, part in enumerate(parts):
        wanted = sum(distance(point, centres[i]) for point in part) / len(part)
        assert float(row[f"D{i + 1}"]) == pytest.approx(wanted, rel=1e-4)
    assert float(row["Dc"]) == pytest.approx(distance(centres[0], centres[1]), rel=1e-4)


def test_parameters_are_those_of_lskd_score(teachers: list[Path], analysed: Path) -> None:
    from fairseq_lskd.records.parameters import count_parameters
    from fairseq_lskd.teachers.checkpoint import read_archive

    for row, path in zip(rows("models", str(analysed)), teachers, strict=True):
        assert row["parameters"] == f"{count_parameters(read_archive(path)['model']):,}"


def test_the_least_smoothed_teacher_is_the_base_and_names_are_the_smoothing(analysed: Path) -> None:
    assert [row["teacher"] for row in rows("stability", str(analysed))] == ["LS 0", "LS 0.1"]
    claims = rows("claims", str(analysed))
    assert len(claims) == 10 and {row["verdict"] for row in claims} <= {
        "held",
        "not held",
        "undecided",
        "not measured",
    }
    change = float(claims[0]["value"])
    base, other = (float(row["1 - S"]) for row in rows("stability", str(analysed)))
    assert change == pytest.approx(other - base)
    assert claims[0]["verdict"] == (
        "held" if float(claims[0]["high"]) < 0 else "not held" if float(claims[0]["low"]) > 0 else "undecided"
    )


def test_the_report_is_one_file_with_everything_beside_it(analysed: Path) -> None:
    page = (analysed / "report.html").read_text(encoding="utf-8")
    pictures = {path.stem for path in (analysed / "pictures").iterdir()}
    assert pictures == {
        "stability",
        "mean-distributions",
        "relations",
        "projection",
        "reliability",
        "smoothed_loss",
    }
    assert page.count("data:image/svg+xml;base64,") == len(pictures)
    captions = set(re.findall(r"Numbers: (tables/\S+\.csv)", page))
    assert len(captions) == len(pictures)
    assert captions <= {f"tables/{path.name}" for path in (analysed / "tables").iterdir()}
    record = json.loads((analysed / "analysis.json").read_text())
    assert "valid.de-en.en.bin" in record["inputs"] and "report.html" in record["outputs"]
    said = json.loads((analysed / "numbers.json").read_text())["sections"][0]["words"]
    assert said[0].startswith(("Distil from LS 0", "Undecided"))


def test_a_second_call_does_nothing_and_other_options_are_refused(
    data: Path, teachers: list[Path], analysed: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = [*words(data, teachers[::-1], "--min-count", "2"), "--out", str(analysed)]
    assert main(argv) == 0
    assert capsys.readouterr().err == f"{analysed}: up to date\n"
    assert "was created with different options" in refused([*argv, "--min-count", "3"])


def test_shards_merge_into_the_same_report(
    data: Path, teachers: list[Path], analysed: Path, capsys: pytest.CaptureFixture
) -> None:
    argv = words(data, teachers[::-1], "--min-count", "2", "--num-shards", "2")
    assert main([*argv, "--shard-id", "1"]) == 0
    assert not Path("out").exists() and "waiting for out.0-of-2" in capsys.readouterr().err
    assert main([*argv, "--shard-id", "0"]) == 0
    for name in ("stability", "stability-by-type", "calibration", "classes-summary", "claims"):
        for one, other in zip(rows(name), rows(name, str(analysed)), strict=True):
            for column in one:
                # The sentences are in other batches, and so the float32 sums are in another order.
                with_number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", one[column] or "x")
                if with_number and name != "claims":
                    assert float(one[column]) == pytest.approx(float(other[column]), abs=2e-5, rel=2e-5), column
                elif column in ("claim", "verdict"):
                    assert one[column] == other[column]
    assert main([*argv, "--shard-id", "0"]) == 0  # up to date
    shutil.rmtree("out")
    assert "out.1-of-2 was measured with different options" in refused([*argv, "--shard-id", "0", "--min-count", "3"])


def test_types_of_the_user_and_embeddings(data: Path, teachers: list[Path]) -> None:
    flags = ["--min-count", "2", "--types", "J,I,H", "--similar-by", "embedding", "--names", "plain,smooth"]
    assert main(words(data, teachers, *flags, "--train-split", "none")) == 0
    points = rows("projection-points")
    assert list(dict.fromkeys(row["type"] for row in points)) == ["J", "I", "H"]
    assert {row["split"] for row in points} == {"valid"}
    assert {row["teacher"] for row in points} == {"plain", "smooth"}


def test_types_that_the_training_split_does_not_have(
    data: Path, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Types are chosen by their counts in --split, and searched in --train-split too."""
    find, sizes = study.holding, []

    def missing(dataset: Sized, types: list[int], most: int) -> np.ndarray:
        sizes.append(len(dataset))
        return find(dataset, types, most)[: 0 if sizes[-1] == max(sizes) else None]

    monkeypatch.setattr(study, "holding", missing)
    assert main(words(data, teachers, "--min-count", "2", "--types", "J,I,H")) == 0
    assert {row["split"] for row in rows("projection-points")} == {"valid"}
    assert "not measured" in {row["verdict"] for row in rows("claims") if "which example" in row["claim"]}


def test_teachers_of_equal_label_smoothing_are_told_apart_by_their_paths(
    data: Path, teachers: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    equal = [
        relabelled(path, tmp_path, name, _name="label_smoothed_teacher", label_smoothing=0.1)
        for name, path in zip("ab", teachers, strict=True)
    ]
    assert main(words(data, equal, "--min-count", "2")) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [f"LS 0.1: {equal[0]}", f"LS 0.1 (2): {equal[1]}", "out/report.html"]
    # The report may be published.
    assert not any(str(tmp_path) in path.read_text() for path in Path("out/tables").iterdir())


def test_teachers_that_differ_in_more_than_smoothing_give_a_warning(
    data: Path, teachers: list[Path], analysed: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    differing = []
    for path, alpha, updates in zip(teachers, (0.0, 0.2), (60, 30), strict=True):
        copy = relabelled(path, tmp_path, f"of-{updates}", _name="label_smoothed_teacher", label_smoothing=alpha)
        state = torch.load(copy, weights_only=True)
        state["cfg"]["optimization"] = {"max_update": updates}
        torch.save(state, copy)
        differing.append(copy)
    assert main(words(data, differing, "--min-count", "2")) == 0
    says = "differ in more than label smoothing"
    assert f"LS 0 and LS 0.2 {says}: updates at most (60 and 30)" in capsys.readouterr().err
    assert f"LS 0.2 and LS 0 {says}: updates at most (30 and 60)." in Path("out/report.html").read_text()
    assert says not in (analysed / "report.html").read_text()


def test_students_and_their_diffusion(data: Path, teachers: list[Path], tmp_path: Path) -> None:
    from trained import trained_teacher

    students = [
        relabelled(
            trained_teacher(data, seed=seed, updates=30),
            tmp_path,
            f"{name}-{temperature:g}",
            _name="word_kd",
            label_smoothing=0.0,
            teacher_path=str(teachers[of]),
            kd_temperature=temperature,
        )
        for seed, (name, of, temperature) in enumerate((("a", 0, 1.0), ("b", 1, 1.0), ("b", 1, 4.0)), start=3)
    ]
    flags = [word for path in students for word in ("--student", str(path))]
    assert main(words(data, teachers, "--min-count", "2", *flags)) == 0
    found = rows("students")
    assert [(row["student"], row["teacher"], float(row["temperature"])) for row in found] == [
        ("a-1", "LS 0", 1),
        ("b-1", "LS 0.1", 1),
        ("b-4", "LS 0.1", 4),
    ]
    assert {(row["teacher"], row["pairs"]) for row in rows("diffusion")} == {
        ("LS 0.1", name) for name in ("similar", "dissimilar", "difference")
    }
    verdicts = {row["claim"]: row for row in rows("claims")}
    drift = verdicts["At higher temperatures, students of the smoothed teacher drift towards similar classes"]
    assert float(drift["value"]) == pytest.approx(
        float(next(row for row in rows("diffusion") if row["pairs"] == "difference")["diffusion index"])
    )
    assert verdicts["The student of the smoothed teacher is as good or better"]["value"]


def test_one_teacher_and_an_ensemble(data: Path, teachers: list[Path]) -> None:
    assert main(["analyze", "--teacher", ":".join(map(str, teachers)), "--data", str(data), "--out", "out"]) == 0
    page = Path("out/report.html").read_text()
    assert "It is the only teacher" in page and "Left out: it is an ensemble." in page


def test_the_truth_of_teachers_and_students(data: Path, teachers: list[Path], tmp_path: Path) -> None:
    """The truth of a generated bitext is known. Here, it is invented."""
    from fairseq_lskd.scoring.sentences import sentence_log_probs
    from fairseq_lskd.teachers.alone import load_teacher

    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "truth.valid.tsv").write_text("log_prob\n" + "".join(f"-{i}\n" for i in range(9)))
    assert main(words(data, teachers, "--min-count", "2", "--truth", str(raw))) == 0
    for row, path in zip(rows("truth"), teachers, strict=True):
        teacher = load_teacher(str(path), str(data))
        teacher.task.load_dataset("valid")
        found = sentence_log_probs(teacher.models[0], teacher.task, "valid")
        gap = -4 - found.log_probs.mean().item()  # the mean of 0, -1, ..., -8
        assert float(row["per sentence"]) == pytest.approx(gap, abs=1e-3)
        assert float(row["per token"]) == pytest.approx(9 * gap / int(found.tokens.sum()), abs=1e-3)
    assert [(row["not smoothed"], row["smoothed"]) for row in rows("truth_changes")] == [("LS 0", "LS 0.1")]
    assert "truth.valid.tsv" in json.loads(Path("out/analysis.json").read_text())["inputs"]


class TestMistakes:
    """Mistakes are reported before the measurement, and leave no files."""

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--split", "test"], "--split test: {data} has no such split for de-en; expected one of train, valid"),
            (["--min-count", "500"], "--min-count 500: no token type occurs that often in valid of {data} (maximum: "),
            (["--min-count", "12"], "at least three types"),
            (["--types", "A,B"], "--types A,B: expected 3 different types"),
            (["--types", "J,I,Q"], "; 'Q' is not in {data}/dict.en.txt"),
            (["--types", "J,I,H", "--min-count", "9"], "times in valid, fewer than --min-count 9"),
            (["--names", "one"], "--names one: expected 2 different names"),
            (["--memory", "0.0000001"], "--memory 1e-07: "),
            (
                ["--memory", "0", "--num-shards", "0"],
                "--num-shards 0: expected 1 or more; --memory 0.0: expected a number above 0",
            ),
            (["--shard-id", "2", "--num-shards", "2"], "--shard-id 2: expected 0 to 1"),
            (["--data", "none"], "none: no such folder"),
            (["--student", "none.pt", "--teacher", "a.pt:b.pt"], "--teacher a.pt: no such file\n  --teacher b.pt: no "),
            (["--student", "none.pt"], "--student none.pt: no such file"),
            (["--from-npz", "a.npz"], "--from-npz and --teacher, --data cannot be combined"),
            (["--truth", "raw"], "--truth raw: it has no truth.valid.tsv; expected the raw/ folder"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_a_wrong_flag_is_named_and_nothing_is_left(
        self, data: Path, teachers: list[Path], flags: list[str], said: str
    ) -> None:
        assert said.format(data=data) in refused(words(data, teachers, *flags))
        assert not list(Path().iterdir())

    def test_a_checkpoint_with_nan(self, data: Path, teachers: list[Path]) -> None:
        state = torch.load(teachers[1], weights_only=True)
        state["model"]["decoder.embed_positions._float_tensor"] = torch.tensor([torch.nan])  # a buffer that is not used
        state["model"]["decoder.layers.0.fc1.bias"][3] = torch.nan
        torch.save(state, "nan.pt")
        said = refused(words(data, [teachers[0], Path("nan.pt")]))
        assert said.startswith("nan.pt has weights that are NaN or infinite, in decoder.layers.0.fc1.bias")

    def test_teachers_of_different_dictionaries(self, data: Path, teachers: list[Path], tmp_path: Path) -> None:
        other = relabelled(teachers[1], tmp_path, "other", _name="cross_entropy")
        dictionary = tmp_path / "other/dict.en.txt"
        lines = dictionary.read_text().splitlines()
        dictionary.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
        said = refused(words(data, [teachers[0], other]))
        assert f"the teacher {other} does not fit" in said
        assert f"its target dictionary {dictionary} differs from the data's: at index 4" in said
        assert "teacher and data need identical dictionaries" in said and "--teacher-text" not in said

    def test_the_same_teacher_twice(self, data: Path, teachers: list[Path]) -> None:
        assert "given 2 times" in refused(words(data, [teachers[0], teachers[0]]))

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            ([], "nothing to analyse: give --teacher (with --data), --from-npz, --runs or --hypotheses"),
            (["--data", "bin"], "--data: --teacher required too"),
            (["--student", "s.pt", "--runs", "."], "--student: --teacher and --data required too"),
            (["--teacher", "t.pt"], "--teacher: --data required too"),
            (["--truth", "raw", "--runs", "."], "--truth: --teacher and --data required too"),
            (["--from-npz", "a.npz", "--truth", "raw"], "--truth: --teacher and --data required too"),
            (["--from-npz", "a.npz"], "--from-npz a.npz: no such file"),
            (["--from-npz", "a.npz", "--from-npz", "a.npz"], "--from-npz a.npz: given 2 times"),
            (["--from-npz", "a.npz", "--num-shards", "2"], "--num-shards 2: only --teacher can be measured in shards"),
            (["--runs", "none"], "--runs none: no such folder"),
            (["--hypotheses", "a=b"], "--hypotheses: the section on the long tail also needs --references and --tr"),
            (["--references", "r", "--training", "t"], "--references and --training: the section on the long tail "),
            (["--hypotheses", "b"], "--hypotheses b: expected NAME=FILE"),
            (["--hypotheses", "a=b"], "--hypotheses a=b: b: no such file"),
            (["--hypotheses", "a=b", "--hypotheses", "a=c"], "--hypotheses a=...: given 2 times"),
            (["--references", "r"], "--references r: no such file"),
            (["--runs", ".", "--names", "a"], "--names a: expected 0 different names"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_options_that_belong_together(self, flags: list[str], said: str) -> None:
        assert said in refused(["analyze", "--out", "out", *flags])
        assert not list(Path().iterdir())

    def test_the_truth_of_another_bitext(self, data: Path, teachers: list[Path], tmp_path: Path) -> None:
        raw = tmp_path / "raw"
        raw.mkdir()
        (raw / "truth.valid.tsv").write_text("log_prob\n-1\n-2\n")
        said = refused(words(data, teachers, "--truth", str(raw)))
        assert said.startswith(f"--truth {raw}: found 2 sentences of valid, expected 9 as in {data}")

    def test_without_matplotlib_the_way_out_is_named(
        self, data: Path, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        assert "lskd analyze needs matplotlib and jinja2" in refused(words(data, teachers))

    def test_an_interrupt_leaves_nothing(
        self, data: Path, teachers: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("fairseq_lskd.analysis.report.page", interrupted)
        with pytest.raises(SystemExit):
            main(words(data, teachers, "--min-count", "2"))
        assert not list(Path().iterdir())
