"""`lskd cache --teacher-text`: a teacher with another vocabulary than the student's."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cached import K, blocks, contents, write_cache
from fairseq import options
from fairseq_cli import preprocess
from tiny import WIDER, batch, make_criterion, make_model, make_task, save

from fairseq_lskd.cli import main
from fairseq_lskd.teachers import CachedTeacher, OnlineTeacher
from fairseq_lskd.teachers.respelling import MARK

#: Words as the teacher and as the student spell them.
WORDS = {"ab": ("a b", "ab"), "ac": ("a c", "ac"), "abc": ("a bc", "ab c"), "d": ("d", "d"), "dc": ("d c", "dc")}


def binarise(folder: Path, side: int, sentences: list[list[str]]) -> Path:
    """Binarise the sentences in one side's pieces, with `MARK` before the first piece of a word."""
    folder.mkdir(parents=True)
    lines = [" ".join(f"{MARK}{WORDS[word][side]}" for word in sentence) for sentence in sentences]
    for language in ("de", "en"):
        (folder / f"train.{language}").write_text("".join(f"{line}\n" for line in lines))
        (folder / f"valid.{language}").write_text("".join(f"{line}\n" for line in lines[:5]))
    words = ["-s", "de", "-t", "en", "--trainpref", str(folder / "train"), "--validpref", str(folder / "valid")]
    words += ["--destdir", str(folder / "bin"), "--workers", "1", "--padding-factor", "1"]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return folder / "bin"


@pytest.fixture(scope="module")
def sentences() -> list[list[str]]:
    chance = random.Random(1)
    return [chance.choices([*WORDS], k=chance.randint(1, 6)) for _ in range(40)]


@pytest.fixture(scope="module")
def text(sentences: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise(tmp_path_factory.mktemp("teacher") / "text", 0, sentences)


@pytest.fixture(scope="module")
def data(sentences: list[list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return binarise(tmp_path_factory.mktemp("student") / "text", 1, sentences)


@pytest.fixture(scope="module")
def teacher(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("teacher") / "checkpoint_best.pt", text, *WIDER, seed=11)


def refused(data: Path, teacher: Path, out: Path, *flags: str | Path) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["cache", str(data), "--teacher-path", str(teacher), "--out", str(out), *map(str, flags)])
    return str(caught.value.code)


def test_the_first_word_by_hand(
    data: Path, text: Path, teacher: Path, sentences: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """At the start of a sentence, the teacher's pieces are divided by the frequencies of the words they begin."""
    main(
        [
            *("cache", str(data), "--teacher-path", str(teacher), "--teacher-text", str(text)),
            *("--out", str(tmp_path / "cache"), "--top-k", "9"),
        ]
    )
    said = capsys.readouterr().err
    assert "divided" in said and "0.00% of the positions have no teacher" in said
    task, own = make_task(data), make_task(text)
    sample = batch(task, [3])
    found = CachedTeacher.open(tmp_path / "cache", task).lookup(sample["id"], torch.tensor([sample["ntokens"]]))
    cached = dict(zip(found.ids[0].tolist(), found.log_probs[0].exp().tolist(), strict=True))
    rows = OnlineTeacher.from_checkpoints(str(teacher), own).log_probs(batch(own, [3])["net_input"], torch.empty(0))
    counts = {word: sum(sentence.count(word) for sentence in sentences) for word in WORDS}
    given = {
        piece: float(rows[0, 0, own.target_dictionary.index(piece)].exp()) for piece in own.target_dictionary.symbols
    }
    # No piece of the student's begins as "b" and "bc" do: their mass is dropped.
    a, d = (given[MARK + piece] / (1 - given["b"] - given["bc"]) for piece in "ad")
    begun_with_a = counts["ab"] + counts["abc"] + counts["ac"]
    wanted = {
        "ab": a * (counts["ab"] + counts["abc"]) / begun_with_a,
        "ac": a * counts["ac"] / begun_with_a,
        "d": d * counts["d"] / (counts["d"] + counts["dc"]),
        "dc": d * counts["dc"] / (counts["d"] + counts["dc"]),
    }
    assert {word: cached[task.target_dictionary.index(MARK + word)] for word in wanted} == pytest.approx(
        wanted, rel=2e-3
    )


def test_one_vocabulary_gives_the_usual_cache(text: Path, teacher: Path, tmp_path: Path) -> None:
    usual = write_cache(text, teacher, tmp_path / "usual")
    respelled = write_cache(text, teacher, tmp_path / "respelled", "--teacher-text", str(text))
    for paths in zip(blocks(usual), blocks(respelled), strict=True):
        one, two = map(np.load, paths)
        assert (one["ids"] == two["ids"]).all()
        for name in ("log_probs", "rest"):  # to float16's last digit
            assert np.allclose(one[name].astype(float), two[name].astype(float), rtol=2e-3, atol=2e-3)


def test_a_student_learns_from_it(data: Path, text: Path, teacher: Path, tmp_path: Path) -> None:
    cache = write_cache(data, teacher, tmp_path / "cache", "--teacher-text", str(text))
    task = make_task(data)
    criterion = make_criterion(task, "word_kd", teacher_cache=str(cache), kd_weight=1.0)
    loss, size, _ = criterion(make_model(task), batch(task, range(6)))
    loss.backward()
    assert torch.isfinite(loss) and loss > 0 and size > 0


def test_a_killed_run_goes_on_and_other_options_are_another_cache(
    data: Path, text: Path, teacher: Path, tmp_path: Path
) -> None:
    cache = write_cache(data, teacher, tmp_path / "cache", "--teacher-text", str(text))
    before = {path.name: path.read_bytes() for path in cache.iterdir()}
    (cache / "cache.json").unlink()
    blocks(cache)[0].unlink()
    write_cache(data, teacher, cache, "--teacher-text", str(text))
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == before
    assert "--teacher-text" in json.loads(before["cache.json"])["options"]
    assert "--top-k" in refused(data, teacher, cache, "--teacher-text", text, "--top-k", str(K + 1))


@pytest.mark.parametrize("flags", [["--kd-temperature", "2"], ["--sampled", "3"], ["--bytes-per-token", "48"]])
def test_what_does_not_go_with_it(data: Path, text: Path, teacher: Path, flags: list[str], tmp_path: Path) -> None:
    said = refused(data, teacher, tmp_path / "none", "--teacher-text", text, *flags)
    assert " ".join(flags) in said and "--teacher-text" in said and not (tmp_path / "none").exists()


def test_other_text_is_refused(
    data: Path, teacher: Path, sentences: list[list[str]], bitext: Path, teacher_path: Path, tmp_path: Path
) -> None:
    others = binarise(tmp_path / "others", 0, sentences[::-1])
    fewer = binarise(tmp_path / "fewer", 0, sentences[:-1])
    for text, facts in ((others, ["of 40 sentences", "sentence 1"]), (fewer, ["39 sentences", "40"])):
        path = save(tmp_path / text.parent.name / "checkpoint_best.pt", text, seed=1)
        said = refused(data, path, tmp_path / "cache", "--teacher-text", text, "--top-k", "4")
        assert f"--teacher-text {text}" in said and all(fact in said for fact in facts)
        own = save(tmp_path / "own.pt", data, seed=1)
        both = ("--teacher-path", f"{own}:{path}", "--teacher-text", f"{data}:{text}", "--top-k", "4")
        assert refused(data, path, tmp_path / "cache", *both) == said and not (tmp_path / "cache").exists()
    copy = shutil.copytree(bitext, tmp_path / "copy")
    said = refused(bitext, teacher_path, tmp_path / "cache", "--teacher-text", copy, "--top-k", "4")
    assert f"{copy}" in said and "SentencePiece" in said


# Several teachers, each with its own vocabulary.

ALL = "9"  #: --top-k of all types of the student


@pytest.fixture(scope="module")
def own_teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher with the student's vocabulary."""
    return save(tmp_path_factory.mktemp("own") / "checkpoint_best.pt", data, seed=12)


def probabilities(cache: Path, data: Path) -> np.ndarray:
    """The probabilities of the student's types and of the rest at all tokens, `[N, W + 1]` float64."""
    width = len(make_task(data).target_dictionary)
    rows = np.concatenate([np.load(path) for path in blocks(cache)])
    found = np.zeros((len(rows), width + 1))
    np.put_along_axis(found, rows["ids"].astype(np.int64), np.exp(rows["log_probs"].astype(float)), 1)
    found[:, -1] = np.exp(rows["rest"].astype(float))
    return np.nan_to_num(found)


@pytest.mark.parametrize("weights", [None, "1:3", "entropy"])
def test_teachers_with_other_vocabularies_are_mixed(
    data: Path,
    text: Path,
    teacher: Path,
    own_teacher: Path,
    weights: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    """The mean of two caches of all types, computed in float64, and then its best types."""
    assert len(make_task(data).target_dictionary) == int(ALL)
    both = ("--teacher-path", f"{teacher}:{own_teacher}", "--teacher-text", f"{text}:{data}")
    both += () if weights is None else ("--teacher-weights", weights)
    each = [
        probabilities(write_cache(data, teacher, tmp_path / "1", "--teacher-text", str(text), "--top-k", ALL), data),
        probabilities(write_cache(data, own_teacher, tmp_path / "2", "--top-k", ALL), data),
    ]
    scales = [np.ones((len(each[0]), 1))] * 2
    if weights == "1:3":
        scales = [scales[0], 3 * scales[1]]
    elif weights == "entropy":
        scales = [np.exp(np.sum(p * np.log(np.maximum(p, 1e-30)), 1, keepdims=True)) for p in each]
    wanted = sum(scale * p for scale, p in zip(scales, each, strict=True)) / sum(scales)
    capsys.readouterr()
    found = probabilities(write_cache(data, teacher, tmp_path / "all", *both, "--top-k", ALL), data)
    said = capsys.readouterr().err
    assert f"{teacher}: the teacher's mass at {len(wanted):,} positions" in said and f"{own_teacher}:" not in said
    np.testing.assert_allclose(found, wanted, rtol=5e-3, atol=2e-6)  # of float16
    best = probabilities(write_cache(data, teacher, tmp_path / "best", *both), data)
    kept = np.partition(wanted[:, :-1], -K)[:, -K:].sum(1)
    np.testing.assert_allclose(best[:, :-1].sum(1), kept, rtol=5e-3)
    np.testing.assert_allclose(best[:, -1], 1 - kept, rtol=5e-3, atol=1e-4)


def test_teachers_with_the_students_vocabulary_give_the_usual_cache(
    data: Path, own_teacher: Path, tmp_path: Path
) -> None:
    other = save(tmp_path / "other.pt", data, *WIDER, seed=13)
    weighed = ("--teacher-path", f"{own_teacher}:{other}", "--teacher-weights", "0.2:0.8", "--top-k", ALL)
    usual = probabilities(write_cache(data, other, tmp_path / "usual", *weighed), data)
    mixed = write_cache(data, other, tmp_path / "mixed", *weighed, "--teacher-text", f"{data}:{data}")
    np.testing.assert_allclose(probabilities(mixed, data), usual, rtol=2e-3, atol=1e-6)


def test_where_one_teacher_has_other_text_the_others_count_alone(
    data: Path, teacher: Path, own_teacher: Path, sentences: list[list[str]], tmp_path: Path
) -> None:
    other = ["d"] if sentences[7] != ["d"] else ["ab"]
    text = binarise(tmp_path / "text", 0, [*sentences[:7], other, *sentences[8:]])
    both = ("--teacher-path", f"{teacher}:{own_teacher}", "--teacher-text", f"{text}:{data}", "--top-k", ALL)
    mixed = probabilities(write_cache(data, teacher, tmp_path / "mixed", *both), data)
    alone = probabilities(write_cache(data, own_teacher, tmp_path / "alone", "--top-k", ALL), data)
    lengths = make_task(data).dataset("train").tgt_sizes
    rows = slice(lengths[:7].sum(), lengths[:8].sum())
    np.testing.assert_allclose(mixed[rows], alone[rows], rtol=2e-3, atol=1e-6)
    assert np.abs(mixed - alone).max() > 0.05


def test_the_order_of_teachers_and_shards_do_not_change_a_cache(
    data: Path, text: Path, teacher: Path, own_teacher: Path, tmp_path: Path
) -> None:
    flags = ("--teacher-path", f"{teacher}:{own_teacher}", "--teacher-text", f"{text}:{data}")
    flags += ("--teacher-weights", "0.3:0.7")
    cache = write_cache(data, teacher, tmp_path / "cache", *flags)
    before = contents(cache)
    (cache / "cache.json").unlink()
    blocks(cache)[0].unlink()
    for shard in ("0", "1"):
        write_cache(data, teacher, cache, *flags, "--shard-id", shard, "--num-shards", "2")
    assert contents(cache) == before
    # The same cache, and other ones.
    turned = ("--teacher-path", f"{own_teacher}:{teacher}", "--teacher-text", f"{data}:{text}", "--top-k", str(K))
    write_cache(data, teacher, cache, *turned, "--teacher-weights", "0.7:0.3")
    assert contents(cache) == before
    said = refused(data, teacher, cache, *turned, "--teacher-weights", "0.3:0.7")
    assert "--teacher-weights" in said and "--teacher-text" not in said
    assert contents(cache) == before


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--teacher-text", "{text}:{data}:{data}"), ("3 folders", "2 checkpoints", "--teacher-path")),
        (("--teacher-text", "{text}:"), ("--teacher-text", "empty")),
        (("--teacher-text", "{text}:{data}", "--teacher-data", "a:b:c"), ("--teacher-data names 3", "2")),
        (("--teacher-text", "{text}:{data}", "--teacher-weights", "1:2:3"), ("--teacher-weights 1:2:3", "2")),
        (("--teacher-text", "{text}:none"), ("none", "no such folder")),
        (("--teacher-text", "{data}:{text}"), ("does not fit", "{teacher}", "text")),
    ],
)
def test_mistakes_with_several_teachers(
    data: Path,
    text: Path,
    teacher: Path,
    own_teacher: Path,
    flags: tuple[str, ...],
    facts: tuple[str, ...],
    tmp_path: Path,
) -> None:
    names = {"text": text, "data": data, "teacher": teacher}
    given = [flag.format(**names) for flag in flags]
    said = refused(data, teacher, tmp_path / "no", "--teacher-path", f"{teacher}:{own_teacher}", "--top-k", "4", *given)
    assert all(fact.format(**names) in said for fact in facts) and not (tmp_path / "no").exists()
