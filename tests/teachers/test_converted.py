"""`lskd cache --model`: a CTranslate2 model as the teacher, against fairseq's model that it is made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cached import blocks, contents, write_cache
from tiny import WIDER, batch, binarise, make_task, save

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.teachers import CachedTeacher, OnlineTeacher, cache_writer
from fairseq_lskd.teachers.cache_request import Request

from . import test_respelled as respelled

ctranslate2 = pytest.importorskip("ctranslate2")

from ctranslate2.specs import TransformerDecoderModelSpec  # noqa: E402  after the check for CTranslate2
from ctranslate2.specs.model_spec import visit_spec  # noqa: E402

from fairseq_lskd.sequences.engines.conversion import FromModel  # noqa: E402
from fairseq_lskd.teachers.alone import load_teacher  # noqa: E402
from fairseq_lskd.teachers.converted import ConvertedTeacher  # noqa: E402

#: The task allows fewer tokens than the longest sentences have (10 target tokens, the end included).
SHORT = ("--max-source-positions", "9", "--max-target-positions", "9")


@pytest.fixture(scope="module")
def folder(teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The teacher as CTranslate2 reads it."""
    out = tmp_path_factory.mktemp("converted") / "model"
    FromModel(load_teacher(str(teacher_path))).convert(str(out))
    return out


def cache_of(model: Path, data: Path, out: Path, *flags: str) -> Path:
    """Run `lskd cache --model`, with blocks of a few sentences each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_writer, "BLOCK_BYTES", 1024)
        main(["cache", str(data), "--model", str(model), "--out", str(out), "--cpu", *flags])
    return out


def refused(*words: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["cache", *map(str, words), "--top-k", "4"])
    return str(caught.value.code)


def edited(folder: Path, place: Path, **changes: Any) -> Path:
    """A copy of a model with other settings in config.json, or another `vocabulary`: {symbol: new symbol}."""
    shutil.copytree(folder, place)
    if renamed := changes.pop("vocabulary", {}):
        for path in place.glob("*_vocabulary.json"):
            path.write_text(json.dumps([renamed.get(symbol, symbol) for symbol in json.loads(path.read_text())]))
    path = place / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return place


def records(cache: Path) -> np.ndarray:
    return np.concatenate([np.load(path) for path in blocks(cache)])


def difference(one: Path, other: Path) -> float:
    """The largest difference of probabilities in two caches of all types; infinite if one lacks a teacher."""
    found = []
    for cache in (one, other):
        rows = records(cache)
        dense = np.zeros(rows["ids"].shape)
        np.put_along_axis(dense, rows["ids"].astype(np.int64), np.exp(rows["log_probs"].astype(float)), 1)
        dense[np.isnan(rows["rest"])] = np.inf
        found.append(dense)
    missing = [np.isinf(each) for each in found]
    assert (missing[0] == missing[1]).all()
    return float(np.abs(np.where(missing[0], 0, found[0]) - np.where(missing[1], 0, found[1])).max())


class TestDistributions:
    """At all tokens of a batch of unequal lengths."""

    @pytest.fixture
    def wanted(self, teacher_path: Path, task: Any) -> torch.Tensor:
        return OnlineTeacher.from_checkpoints(str(teacher_path), task).log_probs(self.sample(task), torch.empty(0))

    @staticmethod
    def sample(task: Any) -> dict[str, Any]:
        return batch(task, range(12))["net_input"]

    def found(self, folder: Path, task: Any, **settings: Any) -> torch.Tensor:
        teacher = ConvertedTeacher(folder, task, settings.pop("compute_type", "float32"), "cpu")
        return teacher.log_probs(self.sample(task), torch.empty(0), **settings)

    def test_are_fairseqs(self, folder: Path, task: Any, wanted: torch.Tensor) -> None:
        there = self.sample(task)["prev_output_tokens"].ne(task.target_dictionary.pad())
        assert len(set(there.sum(1).tolist())) > 3
        found = self.found(folder, task)
        assert found.shape == wanted.shape and (found - wanted)[there].abs().max() < 1e-4

    def test_with_a_temperature(self, folder: Path, teacher_path: Path, task: Any) -> None:
        there = self.sample(task)["prev_output_tokens"].ne(task.target_dictionary.pad())
        online = OnlineTeacher.from_checkpoints(str(teacher_path), task)
        for temperature in (2.0, 100.0):
            wanted = online.log_probs(self.sample(task), torch.empty(0), temperature)
            found = self.found(folder, task, temperature=temperature)
            assert found.dtype == wanted.dtype and (found - wanted)[there].abs().max() < 1e-4

    def test_int8_is_close_and_different(self, folder: Path, task: Any, wanted: torch.Tensor) -> None:
        there = self.sample(task)["prev_output_tokens"].ne(task.target_dictionary.pad())
        off = (self.found(folder, task, compute_type="int8").exp() - wanted.exp())[there].abs()
        assert off.max() > 1e-4 and off.mean() < 0.02

    def test_the_vocabulary_may_have_another_order_and_more_types(
        self, folder: Path, task: Any, tmp_path: Path, wanted: torch.Tensor
    ) -> None:
        """The symbols of two types are exchanged in the model, so the result has them exchanged too."""
        changed = edited(folder, tmp_path / "m", vocabulary={"A": "B", "B": "A", "<blank>": "<pad>", "<s>": "<gone>"})
        found = self.found(changed, task)
        a, b, s = (task.target_dictionary.index(word) for word in ("A", "B", "<s>"))
        first = found[:, 0].exp()  # before any of the symbols is read
        kept = 1 - wanted[:, 0, s].exp()
        assert torch.allclose(first[:, a] * kept, wanted[:, 0, b].exp(), atol=1e-5)
        assert torch.allclose(first[:, b] * kept, wanted[:, 0, a].exp(), atol=1e-5)
        assert (first[:, s] == 0).all() and torch.allclose(first.sum(-1), torch.ones(len(first)), atol=1e-5)

    def test_a_type_that_does_not_occur_may_be_missing(
        self, folder: Path, task: Any, tmp_path: Path, wanted: torch.Tensor
    ) -> None:
        task.target_dictionary.count[a := task.target_dictionary.index("A")] = 0
        first = self.found(edited(folder, tmp_path / "m", vocabulary={"A": "gone"}), task)[:, 0].exp()
        others = wanted[:, 0].exp().index_fill(-1, torch.tensor(a), 0)
        assert torch.allclose(first, others / others.sum(-1, keepdim=True), atol=1e-5)

    def test_a_model_that_adds_no_end_to_a_source_gets_one(
        self, folder: Path, task: Any, tmp_path: Path, wanted: torch.Tensor
    ) -> None:
        there = self.sample(task)["prev_output_tokens"].ne(task.target_dictionary.pad())
        found = self.found(edited(folder, tmp_path / "m", add_source_eos=False), task)
        assert (found - wanted)[there].abs().max() < 1e-4

    def test_empty_targets(self, folder: Path, task: Any, wanted: torch.Tensor) -> None:
        sample = self.sample(task)
        sample["prev_output_tokens"] = sample["prev_output_tokens"][:, :1]
        found = ConvertedTeacher(folder, task, "float32", "cpu").log_probs(sample, torch.empty(0))
        assert (found - wanted[:, :1]).abs().max() < 1e-4


@pytest.fixture(scope="module")
def usual(bitext: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of fairseq's model, of all types; long sentences have no teacher."""
    return write_cache(bitext, teacher_path, tmp_path_factory.mktemp("usual") / "cache", "--top-k", "15", *SHORT)


def test_the_cache_is_that_of_the_checkpoint(bitext: Path, folder: Path, usual: Path, tmp_path: Path) -> None:
    cache = cache_of(folder, bitext, tmp_path / "cache", "--top-k", "15", *SHORT)
    assert 0 < np.isnan(records(cache)["rest"]).sum() < len(records(cache))
    assert difference(cache, usual) < 1e-3  # float16 stores about three digits
    int8 = cache_of(folder, bitext, tmp_path / "int8", "--top-k", "15", *SHORT, "--compute-type", "int8")
    assert difference(int8, usual) > 1e-3
    CachedTeacher.open(cache, make_task(bitext))


def test_a_sampled_cache(bitext: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cache = cache_of(folder, bitext, tmp_path / "cache", "--top-k", "3", "--sampled", "4")
    assert "a head of 3 and 4 draws" in capsys.readouterr().err
    assert CachedTeacher.open(cache, make_task(bitext)).draws == 1


def test_a_killed_run_goes_on_and_another_model_is_another_cache(
    bitext: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = cache_of(folder, bitext, tmp_path / "cache", "--top-k", "4")
    before = contents(cache)
    (cache / "cache.json").unlink()
    blocks(cache)[0].unlink()
    assert contents(cache_of(folder, bitext, cache, "--top-k", "4")) == before
    recorded = json.loads(before["cache.json"])
    assert recorded["model"].keys() > {"config.json"} and len(recorded["teachers"]) == 1
    assert recorded["options"]["--compute-type"] == "float32"
    given = (bitext, "--out", cache, "--cpu")
    said = refused(*given, "--model", folder, "--compute-type", "int8")
    assert "--compute-type: float32, in this command int8" in said
    other = edited(folder, tmp_path / "other", unk_token=None)
    assert "config.json" in refused(*given, "--model", other)
    assert contents(cache) == before
    # A finished cache needs no model in memory.
    monkeypatch.setattr(ctranslate2, "Translator", None)
    assert contents(cache_of(folder, bitext, cache, "--top-k", "4")) == before


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        ([], ("--teacher-path", "--model")),
        (["--model", "{folder}", "--teacher-path", "{teacher}"], ("--teacher-path", "--model")),
        (["--model", "{folder}:{folder}"], ("--model {folder}:{folder}", "one folder")),
        (["--model", "{folder}", "--teacher-weights", "1:2"], ("--model {folder}", "--teacher-weights")),
        (["--model", "{folder}", "--fp16"], ("--fp16", "--compute-type float16")),
        (["--model", "{folder}", "--teacher-data", "x"], ("--teacher-data x", "--model")),
        (["--model", "{folder}", "--compute-type", "float16"], ("--compute-type float16", "float32", "int8")),
        (["--model", "{folder}", "--teacher-text", "{data}:{data}"], ("2 folders", "--model 1 folder")),
        (["--teacher-path", "{teacher}", "--compute-type", "int8"], ("--compute-type int8", "--model")),
        (["--model", "{folder}/none"], ("--model {folder}/none", "no such folder")),
        (["--model", "{data}"], ("--model {data}", "not a CTranslate2 model")),
        (["--model", "{folder}", "--max-target-positions", "2000"], ("--max-target-positions 1024", "{folder}")),
    ],
)
def test_mistakes(
    bitext: Path, folder: Path, teacher_path: Path, flags: list[str], facts: tuple[str, ...], tmp_path: Path, capsys
) -> None:
    names = {"folder": folder, "teacher": teacher_path, "data": bitext}
    said = refused(bitext, "--cpu", "--out", tmp_path / "cache", *(flag.format(**names) for flag in flags))
    said += capsys.readouterr().err  # argparse prints its own
    assert all(fact.format(**names) in said for fact in facts) and not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("vocabulary", "facts"),
    [
        ({"A": "a1", "END": "e1"}, ("2 of the 15", "'A'", "'END'", "target", "--teacher-text")),
        ({each: f"{each}1" for each in "abcde"}, ("5 of the 14", "'a'", "source")),
        ({"A": "__en__", "B": "__de__"}, ("__", "--source-prefix")),
    ],
)
def test_vocabularies_that_do_not_fit(
    bitext: Path, folder: Path, tmp_path: Path, vocabulary: dict[str, str], facts: tuple[str, ...]
) -> None:
    model = edited(folder, tmp_path / "m", vocabulary=vocabulary)
    said = refused(bitext, "--cpu", "--model", model, "--out", tmp_path / "cache")
    assert f"--model {model}" in said and all(fact in said for fact in facts) and not (tmp_path / "cache").exists()


def test_damaged_weights(bitext: Path, folder: Path, tmp_path: Path) -> None:
    model = edited(folder, tmp_path / "m")
    (model / "model.bin").write_bytes(b"x" * 100)
    assert f"--model {model}" in refused(bitext, "--cpu", "--model", model, "--out", tmp_path / "cache")
    (model / "model.bin").unlink()
    assert "model.bin" in refused(bitext, "--cpu", "--model", model, "--out", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_language_model(bitext: Path, folder: Path, tmp_path: Path) -> None:
    """A decoder alone, also with the vocabularies that a model that translates has."""
    spec = TransformerDecoderModelSpec.from_config(1, 2)
    visit_spec(spec, _fill)
    spec.register_vocabulary(["<s>", "</s>", "<unk>", *"abcde"])
    model = tmp_path / "m"
    model.mkdir()
    spec.validate()
    spec.save(str(model))
    for _ in range(2):
        said = refused(bitext, "--cpu", "--model", model, "--out", tmp_path / "cache")
        assert f"--model {model}" in said and "sequence-to-sequence" in said and not (tmp_path / "cache").exists()
        for path in folder.glob("*_vocabulary.json"):
            shutil.copy(path, model)


def _fill(spec: Any, name: str, value: Any) -> None:
    if value is None:
        setattr(spec, name.rpartition("/")[-1], np.zeros((8, 8) if "weight" in name else 8, np.float32))


def test_python_needs_exactly_one_teacher(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither"):
        Request(data="bin", out=tmp_path).check()
    with pytest.raises(UserError, match="both"):
        Request(data="bin", out=tmp_path, model=tmp_path, teacher_path="a.pt").check()


class TestAnotherVocabulary:
    """The model reads the sentences in its own pieces, as the checkpoint that it is made of does."""

    def test_gives_the_checkpoints_cache(self, tmp_path: Path) -> None:
        words = [*respelled.WORDS]
        sentences = [words[i % 5 :: 1 + i % 2] for i in range(12)]
        text, data = (respelled.binarise(tmp_path / str(side), side, sentences) for side in (0, 1))
        path = save(tmp_path / "checkpoint_best.pt", text, *WIDER, seed=11)
        model = tmp_path / "model"
        FromModel(load_teacher(str(path), str(text))).convert(str(model))
        flags = ("--teacher-text", str(text), "--top-k", "9")
        one = write_cache(data, path, tmp_path / "one", *flags)
        two = cache_of(model, data, tmp_path / "two", *flags)
        assert difference(one, two) < 1e-3
        assert "target dictionary" in refused(data, "--model", model, "--cpu", "--out", tmp_path / "no")


def test_source_types_that_a_model_lacks_are_read_as_unknown(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = binarise(tmp_path)
    ConvertedTeacher(edited(folder, tmp_path / "m", vocabulary={"c": "c1"}), make_task(data), "float32", "cpu")
    assert "1 of 14 source types" in caplog.text and "'c'" in caplog.text


def test_vocabularies_of_older_versions_are_text(folder: Path, bitext: Path, tmp_path: Path) -> None:
    old = edited(folder, tmp_path / "old")
    for path in old.glob("*_vocabulary.json"):
        lines = [f"{symbol}\n" for symbol in json.loads(path.read_text())]
        path.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
        path.unlink()
    caches = [cache_of(model, bitext, tmp_path / f"cache-{model.name}", "--top-k", "4") for model in (old, folder)]
    assert records(caches[0]).tobytes() == records(caches[1]).tobytes()
