"""Caches of multilingual teachers give the loss of the teacher itself. Language tokens are set by themselves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from cached import write_cache
from multilingual import (
    BY_TASK,
    MARKS,
    MULTI,
    PAIRS,
    batch,
    binarise_pairs,
    fairseq_train,
    make_model,
    make_task,
    save,
)
from tiny import make_criterion

from fairseq_lskd.cli import main
from fairseq_lskd.teachers import CachedTeacher, OnlineTeacher
from fairseq_lskd.teachers.alone import load_teacher

MIXED = "translation_multi_simple_epoch"
ALL = ["--top-k", "25"]  # all types of the dictionary's file


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def teacher(data: Path) -> Path:
    return save(data.parent / "teacher" / "t.pt", data, *MULTI, *MARKS, seed=5)


@pytest.fixture(scope="module")
def model(data: Path, teacher: Path) -> Path:
    """The teacher in CTranslate2's form, as ct2-fairseq-converter writes it: without a record of language tokens."""
    pytest.importorskip("ctranslate2")
    from fairseq_lskd.sequences.engines.conversion import FromModel

    out = data.parent / "model"
    FromModel(load_teacher(str(teacher), None, "de", "en")).convert(str(out))
    return out


def cache_of(model: Path, data: Path, out: Path, pair: str, *flags: str) -> Path:
    source, target = pair.split("-")
    words = ["--model", str(model), "--out", str(out), "-s", source, "-t", target, "--cpu", *ALL, *flags]
    main(["cache", str(data), *words])
    return out


def refused(*words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["cache", *map(str, words)])
    return str(caught.value.code)


def loss(data: Path, flags: list[str], **where: str) -> float:
    """The loss of a student in training, on all training sentences."""
    task = make_task(data, *flags)
    student = make_model(task, data, *flags, seed=7).eval()
    criterion = make_criterion(task, "word_kd", kd_weight=1.0, **where).train()
    return criterion(student, batch(task, "train"))[0].item()


class TestOfACTranslate2Model:
    def test_for_a_bilingual_student(self, data: Path, teacher: Path, model: Path, tmp_path: Path) -> None:
        for pair in PAIRS:
            source, target = pair.split("-")
            flags = ["--task", "translation", "-s", source, "-t", target]
            cache = cache_of(model, data, tmp_path / pair, pair)
            wanted = loss(data, flags, teacher_path=str(teacher))
            assert loss(data, flags, teacher_cache=str(cache)) == pytest.approx(wanted, rel=2e-3)  # float16
            options = json.loads((cache / "cache.json").read_text())["options"]
            assert (options["--source-prefix"], options["--target-prefix"]) == (f"__{source}__", "__en__")

    def test_for_a_multilingual_student(self, data: Path, teacher: Path, model: Path, tmp_path: Path) -> None:
        caches = ",".join(f"{pair}={cache_of(model, data, tmp_path / pair, pair)}" for pair in PAIRS)
        wanted = loss(data, BY_TASK[MIXED], teacher_path=",".join(f"{pair}={teacher}" for pair in PAIRS))
        assert loss(data, BY_TASK[MIXED], teacher_cache=caches) == pytest.approx(wanted, rel=2e-3)

    def test_tokens_given_by_hand(self, data: Path, model: Path, tmp_path: Path) -> None:
        """As for a model that was trained with another form than M2M-100's; recorded, so that runs are not mixed."""
        usual = cache_of(model, data, tmp_path / "usual", "de-en")
        by_hand = ["--source-prefix", "__de__", "--target-prefix", "__en__"]
        same = cache_of(model, data, tmp_path / "same", "de-en", *by_hand)
        other = cache_of(model, data, tmp_path / "other", "de-en", "--source-prefix", "__en__")
        blocks = [next(folder.glob("block-*")).read_bytes() for folder in (usual, same, other)]
        assert blocks[0] == blocks[1] != blocks[2]
        said = refused(data, "--model", model, "--out", other, "-s", "de", "-t", "en", "--cpu", *ALL)
        assert "--source-prefix: __en__" in said and "--target-prefix" in said

    @pytest.mark.parametrize("suffix", ["</s>", None])
    def test_a_model_that_adds_no_end(self, data: Path, model: Path, tmp_path: Path, suffix: str | None) -> None:
        """The form of ct2-transformers-converter."""
        own = shutil.copytree(model, tmp_path / "model")
        config = json.loads((own / "config.json").read_text())
        (own / "config.json").write_text(json.dumps(config | {"add_source_eos": False}))
        flags = ["--source-prefix", "__de__", "--source-suffix", suffix, "--target-prefix", "__en__"] if suffix else []
        found = cache_of(own, data, tmp_path / "cache", "de-en", *flags)
        usual = cache_of(model, data, tmp_path / "usual", "de-en")
        assert next(found.glob("block-*")).read_bytes() == next(usual.glob("block-*")).read_bytes()

    def test_limits_count_the_language_tokens(self, data: Path, model: Path, tmp_path: Path) -> None:
        from fairseq_lskd.teachers.converted import ConvertedTeacher

        task = make_task(data, *BY_TASK["translation"])
        assert ConvertedTeacher(model, task, "float32", "cpu").max_positions == [(1023, 1023)]
        words = [data, "--model", model, "--out", tmp_path / "c", "-s", "de", "-t", "en", "--cpu"]
        said = refused(*words, "--max-source-positions", "1025", "--max-target-positions", "1025")
        assert "--max-source-positions 1023" in said and "--max-target-positions 1023" in said
        assert not (tmp_path / "c").exists()

    def test_mistakes(self, data: Path, model: Path, teacher: Path, tmp_path: Path) -> None:
        own = shutil.copytree(model, tmp_path / "model")
        path = own / "shared_vocabulary.json"
        path.write_text(path.read_text().replace("__de__", "__nl__"))
        words = ["--out", tmp_path / "c", "-s", "de", "-t", "en", "--cpu"]
        said = refused(data, "--model", own, *words)
        assert f"--model {own}" in said and "no language token for 'de'" in said and "__nl__" in said
        assert "--source-prefix" in said and str(data) in said
        said = refused(data, "--model", model, *words, "--source-prefix", "__nl__")
        assert "lacks '__nl__'" in said and "--source-prefix" in said
        said = refused(data, "--teacher-path", teacher, *words, "--target-prefix", "__en__")
        assert "--target-prefix '__en__' is for --model" in said
        assert not (tmp_path / "c").exists()


class TestOfACheckpoint:
    def test_for_a_multilingual_student(self, data: Path, teacher: Path, tmp_path: Path) -> None:
        caches = {pair: write_cache(data, teacher, tmp_path / pair, "-s", pair[:2], "-t", "en", *ALL) for pair in PAIRS}
        named = {
            flag: ",".join(f"{pair}={path}" for pair, path in paths.items())
            for flag, paths in (("teacher_cache", caches), ("teacher_path", dict.fromkeys(PAIRS, teacher)))
        }
        wanted = loss(data, BY_TASK[MIXED], teacher_path=named["teacher_path"])
        for where in ({"teacher_cache": named["teacher_cache"]}, named):
            assert loss(data, BY_TASK[MIXED], **where) == pytest.approx(wanted, rel=2e-3)

    def test_one_model_serves_all_pairs(self, data: Path, teacher: Path) -> None:
        """It is in memory once, however many pairs it teaches."""
        task = make_task(data, *BY_TASK[MIXED])
        path = ",".join(f"{pair}={teacher}" for pair in PAIRS)
        criterion = make_criterion(task, "word_kd", teacher_path=path)
        models = [of.teacher.models[0] for of in criterion.of_pairs.teachers.values()]
        assert len(models) == 2 and models[0] is models[1]

    def test_its_language_tokens_are_taught_only_online(self, data: Path, teacher: Path) -> None:
        """A teacher of the same task also teaches the language token, which has no teacher of its pair."""
        one = loss(data, BY_TASK[MIXED], teacher_path=str(teacher))
        pairs = loss(data, BY_TASK[MIXED], teacher_path=",".join(f"{pair}={teacher}" for pair in PAIRS))
        assert one != pytest.approx(pairs, rel=1e-2)

    def test_the_cache_knows_its_pair(self, data: Path, teacher: Path, tmp_path: Path) -> None:
        cache = write_cache(data, teacher, tmp_path / "c", "-s", "de", "-t", "en", *ALL)
        with pytest.raises(SystemExit, match="is a cache of de-en, expected one of fr-en"):
            loss(data, ["--task", "translation", "-s", "fr", "-t", "en"], teacher_cache=str(cache))
        with pytest.raises(SystemExit, match=r"fr-en: .* is a cache of de-en, expected one of fr-en"):
            loss(data, BY_TASK[MIXED], teacher_cache=f"de-en={cache},fr-en={cache}")
        with pytest.raises(SystemExit, match="--teacher-cache de-en=PATH,fr-en=PATH"):
            loss(data, BY_TASK[MIXED], teacher_cache=str(cache))


@pytest.mark.slow
def test_training_with_the_caches(data: Path, teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With unmodified fairseq-train, to the same losses as with the teacher itself."""
    caplog.set_level("INFO")  # for --log-file
    found: dict[str, list[float]] = {}
    for name, flag in (("path", "--teacher-path"), ("cache", "--teacher-cache")):
        teachers = dict.fromkeys(PAIRS, teacher)
        if name == "cache":
            teachers = {
                pair: write_cache(data, teacher, tmp_path / pair, "-s", pair[:2], "-t", "en", *ALL) for pair in PAIRS
            }
        for student, value in (
            ("translation", str(teachers["de-en"])),
            (MIXED, ",".join(f"{pair}={path}" for pair, path in teachers.items())),
        ):
            flags = [*BY_TASK[student], "--criterion", "word_kd", flag, value, "--kd-weight", "1"]
            log: dict[str, Any] = fairseq_train(data, tmp_path / name / student, *flags)
            found.setdefault(student, []).append(float(log["train_loss"]))
    for losses in found.values():
        assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_distributions_are_those_of_the_pair(data: Path, teacher: Path, tmp_path: Path) -> None:
    """The cached probabilities are those of the teacher's own task, given that the next token is a word."""
    cache = write_cache(data, teacher, tmp_path / "c", "-s", "fr", "-t", "en", *ALL)
    task = make_task(data, "--task", "translation", "-s", "fr", "-t", "en")
    sample = batch(task, "train")
    real = sample["target"].ne(1)
    found = CachedTeacher.open(cache, task).lookup(sample["id"], real.sum(1))
    online = OnlineTeacher.from_checkpoints(str(teacher), task)
    wanted = online.log_probs(sample["net_input"], torch.zeros(1))[real].exp()
    dense = torch.zeros_like(wanted).scatter(1, found.ids.long(), found.log_probs.exp())
    assert torch.allclose(dense, wanted, atol=1e-3)
