"""Tests of deriving training records from checkpoints and manifests, whatever the labels say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.files import sha256
from fairseq_lskd.records.derive import Options, budget_of, describe, training_of
from fairseq_lskd.records.training import SCHEMA, Budget, Teacher, Training
from fairseq_lskd.sequences.manifest import translators

WORD = {"_name": "word_kd", "teacher_path": "a.pt", "teacher_cache": None, "kd_temperature": 3.0, "kd_weight": 0.5}
SMOOTHED = {"_name": "label_smoothed_teacher", "label_smoothing": 0.1}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(path: Path, out: str, labels: dict[str, Any] | None = None, seed: int = 7, **criterion: Any) -> Path:
    """Save a checkpoint with the options of this criterion; with `labels`, write a run.json too."""
    state = torch.load(path, weights_only=True)
    state["cfg"]["criterion"] = criterion
    state["cfg"]["common"] = {"seed": seed}
    checkpoint = Path(out, "checkpoint_last.pt")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, checkpoint)
    if labels is not None:
        record(out, labels)
    return checkpoint


def record(folder: str, labels: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"command": ["fairseq-train"], "inputs": {}, "labels": labels, "seconds": 9.5, "finished": "2026"} | more
    Path(folder, "run.json").write_text(json.dumps(made))
    return made


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
        (SMOOTHED, "teacher", {"method": "none", "teacher_smoothing": 0.1}),
        (SMOOTHED, "student", {"method": "none"}),
        # fairseq's own have no teacher; the method of other criterions is not known.
        ({"_name": "cross_entropy"}, "teacher", {"method": "none", "teacher_smoothing": 0.0}),
        ({"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.1}, "student", {"method": "none"}),
        ({"_name": "of another plug-in"}, "teacher", {}),
    ],
)
def test_facts(teacher_path: Path, criterion: dict[str, Any], role: str | None, wanted: Any) -> None:
    checkpoint = trained(teacher_path, "run", {"role": role}, **criterion)
    assert training_of(checkpoint).facts == {"seed": 7, **wanted}


def test_facts_of_any_checkpoint(teacher_path: Path) -> None:
    found = training_of(trained(teacher_path, "run", **{**SMOOTHED, "label_smoothing": 0.2}))
    assert (found.criterion, found.label_smoothing, found.arch) == ("label_smoothed_teacher", 0.2, "transformer")
    assert found.role is None and found.seconds is None and found.course == {}
    assert training_of(trained(teacher_path, "run", {}, **SMOOTHED)).seconds == 9.5


def test_an_older_checkpoint_s_options_are_read_too(teacher_path: Path) -> None:
    from argparse import Namespace

    old = Options({"cfg": None, "args": Namespace(criterion="cross_entropy", arch="transformer", seed=3, patience=8)})
    assert (old("criterion", "_name"), old("model", "_name"), old("common", "seed")) == (
        "cross_entropy",
        "transformer",
        3,
    )
    assert budget_of(old).patience == 8 and old("common", "none") is None


def test_numbers_of_hydra_are_those_of_flags(teacher_path: Path) -> None:
    """fairseq-hydra-train saves `criterion.kd_temperature=2` as a whole number."""
    checkpoint = trained(teacher_path, "run", **WORD | {"kd_temperature": 2, "kd_weight": 1, "reference_weight": 0})
    found = training_of(checkpoint)
    assert repr((found.temperature, found.kd_weight, found.reference_weight)) == "(2.0, 1.0, 0.0)"


def test_labels_fill_in_unknown_facts(teacher_path: Path) -> None:
    checkpoint = trained(
        teacher_path, "run", {"size": "student", "temperature": 3, "kd_weight": None, "teacher_smoothing": 0.1}, **WORD
    )
    assert training_of(checkpoint).described() == {
        **{"role": "student", "method": "word", "teacher_smoothing": 0.1, "temperature": 3.0},
        **{"seed": 7, "kd_weight": 0.5, "cached": False, "size": "student"},
    }


def test_a_broken_run_json_is_ignored(teacher_path: Path) -> None:
    checkpoint = trained(teacher_path, "run", **WORD)
    for text in ("", "[]", "{}", '{"labels": 3}', '{"training": 3}'):
        Path("run/run.json").write_text(text)
        assert training_of(checkpoint).labels == {} and training_of(checkpoint).temperature == 3


@pytest.mark.parametrize(
    ("label", "said"),
    [({"temperature": 1.0}, "temperature 3.0 (label: 1.0)"), ({"method": "both"}, "method word (label: both)")],
)
def test_a_label_that_contradicts_is_refused(teacher_path: Path, label: Any, said: str) -> None:
    checkpoint = trained(teacher_path, "run", label, **WORD)
    with pytest.raises(UserError) as caught:
        describe(Path("run"), made := record("run", label))
    assert said in str(caught.value) and str(checkpoint) in str(caught.value)
    assert "training" not in made


class TestTeachers:
    def teach(self, path: Path, name: str, smoothing: float = 0.1) -> str:
        found = trained(path, name, {"role": "teacher", "size": "large"}, **{**SMOOTHED, "label_smoothing": smoothing})
        return sha256(found)

    def test_beside_a_student(self, teacher_path: Path) -> None:
        digest = self.teach(teacher_path, "teacher")
        checkpoint = trained(teacher_path, "run", **WORD | {"teacher_path": "teacher/checkpoint_last.pt"})
        found = training_of(checkpoint)
        ((sha, training),) = found.teachers
        assert sha == digest and training is not None and training.role == "teacher"
        assert (found.teacher_smoothing, found.teacher_size) == (0.1, "large")
        assert found.facts["teacher_smoothing"] == 0.1

    def test_an_ensemble_has_the_smoothing_that_all_have(self, teacher_path: Path) -> None:
        digests = [self.teach(teacher_path, "a", 0.1), self.teach(teacher_path, "b", 0.0)]
        paths = "b/checkpoint_last.pt:a/checkpoint_last.pt"
        found = training_of(trained(teacher_path, "run", **WORD | {"teacher_path": paths}))
        assert [each.sha256 for each in found.teachers] == sorted(digests)
        assert found.teacher_smoothing is None and found.teacher_size == "large"

    @pytest.mark.parametrize("cached", [False, True])
    def test_those_of_language_pairs(self, teacher_path: Path, cached: bool) -> None:
        digests = [self.teach(teacher_path, "a", 0.1), self.teach(teacher_path, "b", 0.0)]
        options = WORD | {"teacher_path": "de-en=a/checkpoint_last.pt,fr-en=b/checkpoint_last.pt,cs-en=none"}
        if cached:
            options |= {"teacher_path": None, "teacher_cache": "de-en=cache-a,fr-en=cache-b"}
            for name, digest in zip("ab", digests, strict=True):
                Path(f"cache-{name}").mkdir()
                manifest = {"teachers": {"teacher 1": digest}, "teacher_path": f"{name}/checkpoint_last.pt"}
                Path(f"cache-{name}/cache.json").write_text(json.dumps(manifest))
        found = training_of(trained(teacher_path, "run", **options))
        assert [each.sha256 for each in found.teachers] == sorted(digests) and found.method == "word"
        assert all(each.training is not None for each in found.teachers) and found.cached == cached
        assert found.pairs == {} and "pairs" not in found.facts
        if cached:  # their checkpoints may be gone, or be those of other teachers by now
            Path("b/checkpoint_last.pt").unlink()
            assert {each.sha256 for each in training_of("run/checkpoint_last.pt").teachers} == set(digests)
            self.teach(teacher_path, "b", 0.3)
            assert {each.sha256 for each in training_of("run/checkpoint_last.pt").teachers} == set(digests)

    @pytest.mark.parametrize(
        ("task", "listed"),
        [
            ("translation_multi_simple_epoch", "de-en,fr-en,cs-en"),
            ("multilingual_translation", ["de-en", "fr-en", "cs-en"]),
            ("a_subclass_of_mine", "de-en,fr-en,cs-en"),
        ],
    )
    def test_each_language_pair_has_its_own(self, teacher_path: Path, task: str, listed: Any) -> None:
        digests = [self.teach(teacher_path, "a", 0.1), self.teach(teacher_path, "b", 0.0)]
        options = WORD | {"teacher_path": "de-en=a/checkpoint_last.pt,fr-en=b/checkpoint_last.pt,cs-en=none"}
        checkpoint = trained(teacher_path, "run", **options)
        state = torch.load(checkpoint, weights_only=True)
        state["cfg"]["task"] = {"_name": task, "lang_pairs": listed}
        torch.save(state, checkpoint)
        found = training_of(checkpoint)
        assert found.pairs == {"de-en": digests[:1], "fr-en": digests[1:], "cs-en": []}
        assert found.facts["pairs"] == 3
        describe(Path("run"), made := record("run", {}))
        Path("run/run.json").write_text(json.dumps(made))
        self.teach(teacher_path, "a", 0.3)  # another one in its place
        assert training_of(checkpoint).pairs == found.pairs and training_of(checkpoint).teachers == found.teachers
        again = found.to_json()
        assert Training.from_json(again) == found
        del again["pairs"]  # records of older versions
        assert Training.from_json(again).pairs == {}

    def test_the_one_that_wrote_the_cache(self, teacher_path: Path) -> None:
        digest = self.teach(teacher_path, "teacher")
        Path("cache").mkdir()
        manifest = {"teachers": {"teacher 1": digest}, "teacher_path": "teacher/checkpoint_last.pt"}
        Path("cache/cache.json").write_text(json.dumps(manifest | {"options": {"--top-k": 16}}))
        options = WORD | {"teacher_path": None, "teacher_cache": "cache"}
        found = training_of(trained(teacher_path, "run", **options))
        assert found.teacher_smoothing == 0.1 and found.cache == sha256("cache/cache.json")
        assert found.kd_top_k == 16
        assert training_of(trained(teacher_path, "run", **options, kd_top_k=4)).kd_top_k == 4
        cut = training_of(trained(teacher_path, "run", **options, kd_rest="renormalise"))
        assert cut.facts["kd_rest"] == "renormalise" and "kd_rest" not in found.facts
        # An unbiased cache stands for all types.
        sampled = {"options": {"--top-k": 7, "--sampled": 9}, "bytes_per_token": 48}
        Path("cache/cache.json").write_text(json.dumps(manifest | sampled))
        again = training_of(trained(teacher_path, "run", **options))
        assert (again.kd_top_k, again.cache_bytes) == (None, 48) and Training.from_json(again.to_json()) == again

    def test_a_cache_that_was_replaced_or_removed(self, teacher_path: Path) -> None:
        digest = self.teach(teacher_path, "teacher")
        Path("cache").mkdir()
        manifest = {"teachers": {"teacher 1": digest}, "teacher_path": "teacher/checkpoint_last.pt"}
        Path("cache/cache.json").write_text(json.dumps(manifest | {"options": {"--top-k": 16}}))
        checkpoint = trained(teacher_path, "run", {}, **WORD | {"teacher_path": None, "teacher_cache": "cache"})
        describe(Path("run"), made := record("run", {}))
        Path("run/run.json").write_text(json.dumps(made))
        wanted = training_of(checkpoint)
        assert wanted.kd_top_k == 16 and [each.sha256 for each in wanted.teachers] == [digest]
        Path("cache/cache.json").write_text(json.dumps({"teachers": {"teacher 1": "x"}, "options": {"--top-k": 8}}))
        assert training_of(checkpoint) == wanted
        Path("cache/cache.json").unlink()
        assert training_of(checkpoint) == wanted

    def test_the_one_that_translated(self, teacher_path: Path) -> None:
        digest = self.teach(teacher_path, "teacher")
        Path("selected").mkdir()
        command = ["lskd", "translate", "--teacher-path", "teacher/checkpoint_last.pt"]
        manifest = {"translations": {"run": {"teacher": [digest]}, "command": command}, "added": {"teachers": ["x"]}}
        options = {"strategy": "n-best", "score-temperature": 0.1}
        Path("selected/select.json").write_text(json.dumps(manifest | {"options": options}))
        learnt = {"_name": "seq_kd", "sequence_weights": "selected/train.weights.npz"}
        found = training_of(trained(teacher_path, "run", **learnt))
        assert [each.sha256 for each in found.teachers] == sorted([digest, "x"])
        assert (found.strategy, found.score_temperature, found.method) == ("n-best", 0.1, "sequence")
        assert found.translations == sha256("selected/select.json")

    @pytest.mark.parametrize(
        "text", ["", "[]", "{}", '{"translations": null}', '{"translations": {"run": {"teacher": 3}}}']
    )
    def test_broken_manifests_give_no_teachers(self, text: str, teacher_path: Path) -> None:
        Path("select.json").write_text(text)
        found = training_of(trained(teacher_path, "run", _name="seq_kd", sequence_weights="w.npz"))
        assert found.teachers == () and translators(Path()) == translators(Path("gone")) == set()

    def test_a_teacher_that_was_renamed_is_still_known(self, teacher_path: Path) -> None:
        digest = self.teach(teacher_path, "teacher")
        checkpoint = trained(teacher_path, "run", {}, **WORD | {"teacher_path": "teacher/checkpoint_last.pt"})
        describe(Path("run"), made := record("run", {}))
        Path("run/run.json").write_text(json.dumps(made))
        Path("teacher").rename("elsewhere")
        for _ in range(2):
            found = training_of(checkpoint)
            assert [each.sha256 for each in found.teachers] == [digest] and found.teacher_smoothing == 0.1
            self.teach(teacher_path, "teacher", 0.3)  # another one in its place

    def test_a_missing_teacher_is_a_warning(self, teacher_path: Path, capsys: pytest.CaptureFixture) -> None:
        trained(teacher_path, "run", {}, **WORD)
        describe(Path("run"), made := record("run", {}, inputs={"a.pt": "0123456789abcdef"}))
        assert made["training"]["teachers"] == [{"sha256": "0123456789abcdef", "training": None}]
        said = capsys.readouterr().err
        assert "0123456789ab" in said and "a.pt" in said


def test_a_record_survives_a_round_trip(teacher_path: Path) -> None:
    teacher = training_of(trained(teacher_path, "teacher", {"role": "teacher"}, **SMOOTHED))
    found = Training(method="word", seed=1, teachers=(Teacher("a", teacher), Teacher("b", None)), labels={"note": "x"})
    assert Training.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.to_json()["schema"] == SCHEMA


@pytest.mark.parametrize("change", [{"schema": 99}, {"seed": "1"}, {"teachers": [3]}, {"budget": {}}, {"data": []}])
def test_another_record_is_none(change: dict[str, Any]) -> None:
    assert Training.from_json(Training().to_json()) == Training()
    assert Training.from_json(Training().to_json() | change) is None and Training.from_json(3) is None


def test_digests_of_the_data(teacher_path: Path) -> None:
    state = torch.load(trained(teacher_path, "run", **SMOOTHED), weights_only=True)
    Path("data/bin").mkdir(parents=True)
    Path("data/bin/binarise.json").write_text(
        json.dumps({"digests": {"train.de-en.de.bin": "1", "valid.de-en.de.bin": "2"}})
    )
    state["cfg"]["task"]["data"] = "data/bin"
    torch.save(state, "run/checkpoint_last.pt")
    assert training_of("run/checkpoint_last.pt").data == {"train.de-en.de.bin": "1"}


def test_a_training_is_described_when_it_ends(teacher_path: Path, capsys: pytest.CaptureFixture) -> None:
    made = trained(teacher_path, "made", **WORD)
    Path("fairseq-train").write_text('#!/bin/sh\ncp "$2" run/checkpoint_last.pt\n')
    Path("fairseq-train").chmod(0o755)
    command = ["--", "./fairseq-train", "bin", str(made), "--save-dir", "run"]
    assert main(["run", "--out", "run", "--label", "note=mine", *command]) == 0
    found = json.loads(Path("run/run.json").read_text())
    assert found["labels"] == {"note": "mine"} and found["training"]["temperature"] == 3.0
    assert Training.from_json(found["training"]) == training_of("run/checkpoint_last.pt")
    for _ in range(2):  # nothing is trained again, and the error is raised each time
        with pytest.raises(SystemExit, match=r"temperature 3.0 \(label: 1\)"):
            main(["run", "--out", "run", "--label", "temperature=1", *command])
    assert "training" not in json.loads(Path("run/run.json").read_text())
    assert main(["run", "--out", "run", *command]) == 0
    assert json.loads(Path("run/run.json").read_text())["training"]["labels"] == {}


def test_the_budget_of_a_training() -> None:
    saved = {"patience": 8, "best_checkpoint_metric": "bleu", "maximize_best_checkpoint_metric": True}
    cfg = {"checkpoint": saved, "optimization": {"max_update": 1200}, "dataset": {"valid_subset": "dev,valid"}}
    assert budget_of(Options({"cfg": cfg})) == Budget(1200, 8, "bleu", True, "dev")
    # fairseq's values for no limit, values of wrong types, and checkpoints without options.
    cfg = {"checkpoint": {"patience": -1}, "optimization": {"max_update": 0}}
    odd = {"checkpoint": {"patience": "8", "best_checkpoint_metric": 3}}
    nothing = Budget(None, None, "loss", False, "valid")
    assert all(budget_of(Options({"cfg": each})) == nothing for each in (cfg, odd, {}, None))
