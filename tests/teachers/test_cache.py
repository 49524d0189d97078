"""Reading a cache: it has the teacher's predictions, must fit the training, and must be complete and undamaged."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch
from cached import K, blocks, contents, flip, write_cache
from fairseq import options
from fairseq.tasks import TASK_REGISTRY
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq_cli import preprocess
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from tiny import batch, binarise, make_task, save

from fairseq_lskd.errors import UserError
from fairseq_lskd.losses import TopK
from fairseq_lskd.teachers import OnlineTeacher, forced
from fairseq_lskd.teachers.cache import CachedTeacher, file_name, fingerprint, record_dtype
from fairseq_lskd.teachers.cache_writer import block_edges


@pytest.fixture(scope="module")
def whole(bitext: Path, teacher_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cache. Tests must not change it."""
    return write_cache(bitext, teacher_path, tmp_path_factory.mktemp("whole") / "cache")


@pytest.fixture
def cache(whole: Path, tmp_path: Path) -> Path:
    """A copy of the finished cache."""
    return Path(shutil.copytree(whole, tmp_path / "cache"))


def lookup(cached: CachedTeacher, sample: dict[str, Any], padding: int = 1) -> TopK:
    return cached.lookup(sample["id"], sample["target"].ne(padding).sum(1))


def exact(paths: str, task: Any, sample: dict[str, Any], temperature: float) -> torch.Tensor:
    """Return the log-probabilities at the target tokens, `[N, V]`, computed from the logits in float64."""
    models = [model.double() for model in OnlineTeacher.from_checkpoints(paths, task).models]
    with torch.no_grad():
        logits = torch.stack([model(**sample["net_input"])[0] / temperature for model in models])
    log_probs = (logits.log_softmax(-1).exp().sum(0) / len(models)).log()
    return log_probs[sample["target"].ne(1)]


def assert_same_records(found: TopK, wanted: TopK) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


# The predictions.


@pytest.mark.parametrize(("k", "members", "temperature"), [(1, 1, 1.0), (4, 1, 2.5), (4, 2, 2.5), (15, 2, 1.0)])
def test_the_teachers_top_k_at_every_token(
    bitext, task, teacher_path, other_teacher_path, tmp_path, k, members, temperature
):
    paths = ":".join(map(str, (teacher_path, other_teacher_path)[:members]))
    flags = ["--top-k", str(k), "--kd-temperature", str(temperature)]
    cached = CachedTeacher.open(
        write_cache(bitext, paths, tmp_path / "cache", *flags), task, temperature=temperature, teacher_path=paths
    )
    assert cached.k == k
    sample = batch(task, range(60))
    truth = exact(paths, task, sample, temperature)
    found = lookup(cached, sample)
    assert [member.dtype for member in found] == [torch.int64, torch.float32, torch.float32]
    assert found.ids.shape == found.log_probs.shape == (len(truth), k) and found.rest.shape == (len(truth),)
    best = truth.topk(k).values
    # Classes are compared by their probability, because two may be equally probable.
    torch.testing.assert_close(truth.gather(1, found.ids), best, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.log_probs.double(), best, rtol=2**-10, atol=1e-5)
    assert (found.log_probs.diff(dim=1) <= 0).all()
    assert all(len(set(row)) == k for row in found.ids.tolist())
    rest = truth.scatter(1, found.ids, -math.inf).logsumexp(1)
    torch.testing.assert_close(found.rest.double(), rest, rtol=2**-10, atol=1e-5)
    total = found.log_probs.exp().sum(1) + found.rest.exp()
    torch.testing.assert_close(total, torch.ones(len(truth)), rtol=0, atol=3e-7)


@pytest.mark.parametrize("classes", [1, 40, 10**6])
@pytest.mark.parametrize("projected", [True, False])
def test_slices_and_models_without_an_output_matrix(
    bitext, task, whole, teacher_path, tmp_path, monkeypatch, projected, classes
):
    """The cache is the same for slices of all sizes, computed from hidden states or from log-probabilities."""
    monkeypatch.setattr(forced, "SLICE", {"cpu": classes})
    if not projected:
        monkeypatch.setattr(OnlineTeacher, "projections", lambda *_: None)
    sample = batch(task, range(60))
    found = lookup(CachedTeacher.open(write_cache(bitext, teacher_path, tmp_path / "cache"), task), sample)
    wanted = lookup(CachedTeacher.open(whole, task), sample)
    torch.testing.assert_close(found.log_probs, wanted.log_probs, rtol=2**-10, atol=1e-5)
    torch.testing.assert_close(found.rest, wanted.rest, rtol=2**-10, atol=1e-5)


def test_the_error_of_float16_is_small(bitext, task, teacher_path, tmp_path):
    """KL in nats per token. The cache has the whole vocabulary, so float16 is the only difference."""
    cached = CachedTeacher.open(write_cache(bitext, teacher_path, tmp_path / "cache", "--top-k", "15"), task)
    sample = batch(task, range(60))
    found, truth = lookup(cached, sample), exact(str(teacher_path), task, sample, 1.0)
    kl = (truth.gather(1, found.ids).exp() * (truth.gather(1, found.ids) - found.log_probs.double())).sum(1)
    assert found.rest.eq(-math.inf).all()
    assert 0 <= kl.mean() < 1e-6


@pytest.mark.parametrize("flags", [[], ["--left-pad-target"], ["--num-batch-buckets", "3"]])
def test_records_are_in_the_order_of_target_tokens(bitext, whole, flags):
    task = make_task(bitext, *flags)
    cached = CachedTeacher.open(whole, task)
    for ids in ([0], [7, 3, 59, 12], [5, 5, 5], range(60)):
        sample = batch(task, ids)
        alone = [lookup(cached, batch(task, [i])) for i in sample["id"].tolist()]
        assert_same_records(lookup(cached, sample), TopK(*map(torch.cat, zip(*alone, strict=True))))


def test_no_sentences(task, whole):
    nothing = torch.zeros(0, dtype=torch.long)
    assert [len(member) for member in CachedTeacher.open(whole, task).lookup(nothing, nothing)] == [0, 0, 0]


@pytest.mark.parametrize(("vocabulary", "size"), [(15, 66), (2**16, 66), (2**16 + 1, 98)])
def test_the_size_of_records(vocabulary, size):
    dtype = record_dtype(16, vocabulary)
    assert dtype.itemsize == size
    record = np.zeros(1, dtype)
    record["ids"] = vocabulary - 1
    assert (record["ids"] == vocabulary - 1).all()


def test_large_vocabularies():
    """Records with 4-byte ids are not aligned."""
    block = np.zeros(3, record_dtype(2, 10**6))
    block["ids"], block["log_probs"], block["rest"] = [999_999, 70_000], np.log([0.5, 0.25]), np.log(0.25)
    found = CachedTeacher("name", np.array([1, 2]), [block[:1], block[1:]]).lookup(
        torch.tensor([1, 0]), torch.tensor([2, 1])
    )
    assert found.ids.tolist() == [[999_999, 70_000]] * 3
    torch.testing.assert_close(found.log_probs.exp(), torch.tensor([[0.5, 0.25]] * 3), rtol=1e-3, atol=0)


def test_train1_and_upsampling(bitext, teacher_path, tmp_path):
    data = Path(shutil.copytree(bitext, tmp_path / "data"))
    for path in list(data.glob("valid.*")):
        shutil.copy(path, data / path.name.replace("valid", "train1"))
    flags = ["--upsample-primary", "2"]
    cache = write_cache(data, teacher_path, tmp_path / "cache", *flags)
    task = make_task(data, *flags)
    task.load_dataset("train", combine=True)
    cached = CachedTeacher.open(cache, task)
    assert len(task.dataset("train")) == 129
    sample = batch(task, [3, 63, 128])
    torch.testing.assert_close(
        lookup(cached, sample).log_probs,
        exact(str(teacher_path), task, sample, 1.0).topk(K).values.float(),
        rtol=2**-10,
        atol=1e-5,
    )
    with pytest.raises(UserError, match="--upsample-primary: 2, in this command 1"):
        CachedTeacher.open(cache, make_task(data, "--upsample-primary", "1"))
    for path in data.glob("train1.*"):
        path.unlink()
    with pytest.raises(UserError, match=r"train1\.de-en\.de\.bin: SHA-256 \w+…, in this command none"):
        CachedTeacher.open(cache, task)


def test_another_split(bitext, task, teacher_path, tmp_path, capsys):
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", "--subset", "valid")
    assert "Train with" not in capsys.readouterr().err
    sample = batch(task, range(9), "valid")
    found = lookup(CachedTeacher.open(cache, task, subset="valid"), sample)
    wanted = exact(str(teacher_path), task, sample, 1.0).topk(K).values.float()
    torch.testing.assert_close(found.log_probs, wanted, rtol=2**-10, atol=1e-5)


@pytest.mark.parametrize("implementation", ["cached", "lazy"])
def test_data_in_fairseqs_older_formats(teacher_path, tmp_path, implementation):
    data = binarise(tmp_path, "--dataset-impl", implementation)
    cached = CachedTeacher.open(write_cache(data, teacher_path, tmp_path / "cache"), make_task(data))
    assert not cached.lookup(torch.arange(60), torch.from_numpy(cached._lengths)).rest.isnan().any()


# Sentences without a teacher.


def test_too_long_for_the_teacher(bitext, task, tmp_path, capsys):
    """Sentences that fairseq-train would skip have no teacher; the others are unchanged."""
    limits = ["--max-source-positions", "6", "--max-target-positions", "5"]
    teacher = save(tmp_path / "checkpoint.pt", bitext, *limits)
    with pytest.raises(SystemExit, match=r"limit is 5 target tokens.*--max-target-positions 5"):
        write_cache(bitext, teacher, tmp_path / "refused")
    cached = CachedTeacher.open(write_cache(bitext, teacher, tmp_path / "cache", *limits), task)
    dataset = task.dataset("train")
    too_long = (dataset.src_sizes > 6) | (dataset.tgt_sizes > 5)
    said = capsys.readouterr().err
    assert f"{too_long.sum()} of 60 sentences are left out" in said and "longer than 6 tokens" in said
    assert 0 < too_long.sum() < 60
    found = [lookup(cached, batch(task, [i])).rest.isnan() for i in range(60)]
    assert [bool(rest.any()) for rest in found] == too_long.tolist()
    assert all(rest.all() for rest in found if rest.any())
    # In a batch with other sentences they have valid numbers and do not change the others.
    sample = batch(task, range(60))
    mixed = lookup(cached, sample)
    assert mixed.ids.ge(0).all() and mixed.log_probs.isfinite().all()
    truth = exact(str(teacher), make_task(bitext, *limits), batch(task, [int(np.flatnonzero(~too_long)[0])]), 1.0)
    alone = lookup(cached, batch(task, [int(np.flatnonzero(~too_long)[0])]))
    torch.testing.assert_close(alone.log_probs.double(), truth.topk(K).values, rtol=2**-10, atol=1e-5)


def test_most_too_long(bitext, task, teacher_path, tmp_path):
    """Some blocks have no sentence with a teacher."""
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", "--max-source-positions", "2")
    missing = lookup(CachedTeacher.open(cache, task), batch(task, range(60))).rest.isnan()
    assert missing.float().mean() > 0.9 and not missing.all()


@pytest.mark.parametrize("max_tokens", ["1", "400"])
def test_padding_as_a_word(teacher_path, tmp_path, caplog, max_tokens):
    """fairseq reads <pad> in a text as padding, so the sentence has fewer target tokens than its length."""
    dictionaries = binarise(tmp_path)
    text = (tmp_path / "train.en").read_text().splitlines()
    text[7] = "A <pad> END"
    (tmp_path / "train.en").write_text("".join(f"{line}\n" for line in text))
    words = ["-s", "de", "-t", "en", "--trainpref", f"{tmp_path}/train", "--validpref", f"{tmp_path}/valid"]
    words += ["--srcdict", f"{dictionaries}/dict.de.txt", "--tgtdict", f"{dictionaries}/dict.en.txt"]
    data = tmp_path / "again"
    preprocess.main(options.get_preprocessing_parser().parse_args([*words, "--destdir", str(data), "--workers", "1"]))
    cache = write_cache(data, teacher_path, tmp_path / "cache", "--max-tokens", max_tokens)
    assert "the target of sentence 7 has the word <pad>" in caplog.text
    task = make_task(data)
    sample = batch(task, [6, 7, 8])
    lengths = sample["target"].ne(1).sum(1)
    found = CachedTeacher.open(cache, task).lookup(sample["id"], lengths)
    assert found.rest.isnan().tolist() == (sample["id"] == 7).repeat_interleave(lengths).tolist()


# Batches of other data.


@pytest.mark.parametrize("change", [1, -1, 100])
def test_another_length(task, whole, change):
    lengths = batch(task, [3, 4])["target"].ne(1).sum(1) + torch.tensor([0, change])
    sentence = batch(task, [3, 4])["id"][1]
    with pytest.raises(UserError, match=rf"sentence {sentence} has \d+ target tokens in the cache, -?\d+ in the batch"):
        CachedTeacher.open(whole, task).lookup(batch(task, [3, 4])["id"], lengths)


@pytest.mark.parametrize("sentence", [60, -1, 10**12])
def test_no_such_sentence(task, whole, sentence):
    with pytest.raises(UserError, match=rf"has 60 sentences, .*sentence {max(sentence, 1)}\."):
        CachedTeacher.open(whole, task).lookup(torch.tensor([1, sentence]), torch.tensor([1, 1]))


# The fingerprint.


@pytest.mark.parametrize("file", ["train.de-en.de.bin", "train.de-en.en.bin", "train.de-en.en.idx"])
def test_other_data(bitext, cache, tmp_path, file):
    data = Path(shutil.copytree(bitext, tmp_path / "data"))
    task = make_task(data)
    CachedTeacher.open(cache, task)  # the path of the data does not matter
    flip(data / file)
    with pytest.raises(
        UserError, match=rf"not fit this training:\n  - {file}: SHA-256 \w+…, in this command SHA-256 \w+…"
    ):
        CachedTeacher.open(cache, task)


@pytest.mark.parametrize("side", ["de", "en"])
def test_another_dictionary(bitext, cache, tmp_path, side):
    data = Path(shutil.copytree(bitext, tmp_path / "data"))
    lines = (data / f"dict.{side}.txt").read_text().splitlines()
    counted_anew = [re.sub(r"\d+$", "7", line) for line in lines]
    (data / f"dict.{side}.txt").write_text("\n".join(counted_anew) + "\n")
    CachedTeacher.open(cache, make_task(data))
    (data / f"dict.{side}.txt").write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    name = {"de": "source", "en": "target"}[side]
    with pytest.raises(UserError, match=rf"{name} dictionary: SHA-256 \w+…, in this command SHA-256 \w+…"):
        CachedTeacher.open(cache, make_task(data))


def test_other_teachers(bitext, task, cache, teacher_path, other_teacher_path, tmp_path):
    CachedTeacher.open(cache, task, teacher_path=str(shutil.copy(teacher_path, tmp_path / "moved.pt")))
    with pytest.raises(UserError, match=r"teacher 1: SHA-256 \w+…, in this command SHA-256 \w+…"):
        CachedTeacher.open(cache, task, teacher_path=str(other_teacher_path))
    with pytest.raises(UserError, match=r"teacher 2: none, in this command SHA-256 \w+…"):
        CachedTeacher.open(cache, task, teacher_path=f"{teacher_path}:{other_teacher_path}")
    with pytest.raises(UserError, match=r"--teacher-path: no checkpoint at /none\.pt"):
        CachedTeacher.open(cache, task, teacher_path="/none.pt")
    both = f"{teacher_path}:{other_teacher_path}", f"{other_teacher_path}:{teacher_path}"
    ensemble = write_cache(bitext, both[0], tmp_path / "ensemble")
    CachedTeacher.open(ensemble, task, teacher_path=both[1])
    with pytest.raises(UserError, match=r"teacher 2: SHA-256 \w+…, in this command none"):
        CachedTeacher.open(ensemble, task, teacher_path=str(other_teacher_path))


def test_one_message_names_everything_that_does_not_fit(cache, bitext):
    task = make_task(bitext, "--truncate-source", "--max-source-positions", "8")
    for dictionary in (task.source_dictionary, task.target_dictionary):
        dictionary.add_symbol("more")
    with pytest.raises(UserError) as caught:
        CachedTeacher.open(cache, task, temperature=2)
    said = str(caught.value)
    assert said.startswith(f"--teacher-cache {cache} does not fit this training:\n  - ")
    for line in (
        "--kd-temperature: 1.0, in this command 2.0",
        "--truncate-source: none, in this command 8",
        "source dictionary: ",
        "target dictionary: ",
    ):
        assert f"\n  - {line}" in said
    assert "`lskd cache`" in said


def test_another_pair_is_all_that_is_said(cache, bitext):
    """All files are others then."""
    with pytest.raises(UserError) as caught:
        CachedTeacher.open(cache, make_task(bitext, "-s", "en", "-t", "de"))
    assert (
        str(caught.value)
        == f"--teacher-cache {cache} is a cache of de-en, expected one of en-de. Give the cache of en-de"
    )


def test_another_split_is_refused(task, cache):
    with pytest.raises(UserError, match="--subset: train, in this command valid"):
        CachedTeacher.open(cache, task, subset="valid")
    task.cfg.train_subset = "valid"
    with pytest.raises(UserError, match=r"--subset: train, in this command valid .*--train-subset"):
        CachedTeacher.open(cache, task)


def test_another_format(task, cache):
    (cache / "cache.json").write_text(json.dumps({"format": 2, "lskd": "9.9"}))
    with pytest.raises(UserError, match=r"has format 2, .* format 1\. .*`lskd cache`.*\(9\.9\)"):
        CachedTeacher.open(cache, task)


def test_data_in_several_folders(bitext, cache, task):
    task.cfg.data = f"{bitext}:{bitext}"
    with pytest.raises(UserError, match="needs the data in one folder, found 2"):
        CachedTeacher.open(cache, task)


def test_missing_data(cache, bitext, task, tmp_path):
    task.cfg.data = str(tmp_path)
    with pytest.raises(
        UserError, match=rf"{tmp_path} has no binarised split 'train' .* expected train\.de-en\.de\.bin"
    ):
        CachedTeacher.open(cache, task)
    shutil.copy(bitext / "train.de-en.de.bin", tmp_path)
    with pytest.raises(UserError, match=r"has train\.de-en\.de\.bin, but not train\.de-en\.de\.idx, train\.de-en\.en"):
        CachedTeacher.open(cache, task)


def test_another_task(cache, task):
    task.cfg._name = "translation_lev"
    with pytest.raises(UserError, match=r"needs --task translation .*found --task translation_lev"):
        CachedTeacher.open(cache, task)


@dataclasses.dataclass
class OwnConfig(TranslationConfig):
    own_option: int = 1


class OwnTask(TranslationTask):
    pass


def test_the_fingerprint_has_a_users_own_task(cache, task, monkeypatch):
    assert fingerprint(task, "train", 1.0)["options"]["--task"] is None  # as in caches of earlier versions
    monkeypatch.setitem(TASK_REGISTRY, "own_task", OwnTask)
    task.cfg = OmegaConf.structured(OwnConfig(**{**task.cfg, "_name": "own_task"}))
    with pytest.raises(UserError, match="--task: none, in this command own_task"):
        CachedTeacher.open(cache, task)
    found = fingerprint(task, "train", 1.0)["options"]
    assert (found["--task"], found["--own-option"]) == ("own_task", "1")


# Complete and undamaged files.


def test_no_cache(task, tmp_path):
    for name, found in (("none", "nothing"), ("file", "a file"), ("folder", "other files")):
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(UserError, match=f"found {found} there, expected a folder that `lskd cache` wrote"):
            CachedTeacher.open(tmp_path / name, task)


def test_not_finished(task, cache):
    (cache / "cache.json").unlink()
    blocks(cache)[2].unlink()
    count = len(blocks(cache))
    with pytest.raises(UserError, match=f"is not finished: {count} of {count + 1} blocks are written"):
        CachedTeacher.open(cache, task)


def test_every_file_is_needed(task, whole, cache):
    for name in [name for name in contents(whole) if name.endswith(".npy")]:
        (cache / name).rename(cache / "aside")
        with pytest.raises(UserError, match=rf"is not complete:\n  - {name} is missing\n.*`lskd cache`"):
            CachedTeacher.open(cache, task)
        (cache / "aside").rename(cache / name)
    CachedTeacher.open(cache, task)


def test_every_flipped_bit_is_detected(task, whole, cache):
    for name, content in contents(whole).items():
        if not name.endswith(".npy"):
            continue
        for offset in (0, len(content) // 2, len(content) - 1):
            flip(cache / name, offset, bit=1 << offset % 8)
            with pytest.raises(UserError, match=f"is not complete:\n  - {name} is damaged"):
                CachedTeacher.open(cache, task)
            (cache / name).write_bytes(content)


@pytest.mark.parametrize("keep", [0, 64, -1])
def test_truncated(task, cache, keep):
    block = blocks(cache)[1]
    data = block.read_bytes()
    block.write_bytes(data[:keep])
    with pytest.raises(UserError, match=rf"{block.name} has [\d,]+ bytes, expected {len(data):,}"):
        CachedTeacher.open(cache, task)


def test_each_of_several_processes_checks_its_share(task, cache):
    flip(blocks(cache)[3])
    world, complaints = 3, 0
    for rank in range(world):
        try:
            CachedTeacher.open(cache, task, share=(rank, world))
        except UserError:
            complaints += 1
    assert complaints == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "options": 3}'])
@pytest.mark.parametrize("file", ["cache.json", "plan.json"])
def test_an_invalid_manifest(task, cache, file, text):
    (cache / "cache.json").unlink()
    (cache / file).write_text(text)
    with pytest.raises(UserError, match=f"{file} is damaged"):
        CachedTeacher.open(cache, task)


def test_a_manifest_without_its_files(task, cache):
    shutil.copy(cache / "plan.json", cache / "cache.json")
    with pytest.raises(UserError, match=r"is damaged\. .*`lskd cache`"):
        CachedTeacher.open(cache, task)


# Wrong content in files with the right digest.


def rewrite(cache: Path, block: int | None, change: Callable[[np.ndarray], np.ndarray | bytes]) -> None:
    """Change a block, or the lengths (None). Update the file's name and the manifest as the writer does."""
    path = next(cache.glob("lengths-*")) if block is None else blocks(cache)[block]
    changed = change(np.load(path))
    buffer = io.BytesIO()
    if isinstance(changed, bytes):
        buffer.write(changed)
    else:
        np.save(buffer, changed)
    content = buffer.getvalue()
    new = path.with_name(file_name(path.name.rpartition("-")[0], content))
    path.unlink()
    new.write_bytes(content)
    manifest = json.loads((cache / "cache.json").read_text())
    files = {new.name if name == path.name else name: size for name, size in manifest["files"].items()}
    manifest["files"] = files | {new.name: len(content)}
    (cache / "cache.json").write_text(json.dumps(manifest))


def filled(field: str, value: float, at: Any = 3) -> Callable[[np.ndarray], np.ndarray]:
    def change(records: np.ndarray) -> np.ndarray:
        records[field][at] = value
        return records

    return change


@pytest.mark.parametrize(
    ("block", "change", "said"),
    [
        (1, filled("ids", 15), r"token 3 of block-00001-\w+\.npy has the types \[15, .*: expected types from 0 to 14"),
        (1, filled("ids", 2**16 - 1, (3, 2)), "token 3 of block-00001"),
        (2, filled("log_probs", np.nan, (0, 1)), "token 0 of block-00002"),
        (2, filled("log_probs", np.inf, (0, 1)), "token 0 of block-00002"),
        (2, filled("log_probs", -np.inf), "token 3 of block-00002"),
        (2, filled("log_probs", 0.5, (1, 0)), "token 1 of block-00002"),
        (0, filled("rest", np.inf), "token 3 of block-00000"),
        (0, lambda records: records[:-1], r"its blocks have [\d,]+ tokens, its sentences [\d,]+"),
        (0, lambda records: np.zeros(len(records), record_dtype(3, 15)), "block-00000-.*has records of"),
        (0, lambda records: np.zeros((len(records), 1), records.dtype), "has records of"),
        (0, lambda records: records["rest"], "has records of float16"),
        (0, lambda records: b"no array", "is not an array"),
        (0, lambda records: np.lib.format.MAGIC_PREFIX + bytes(80), "is not an array"),
        (None, lambda lengths: lengths[:-1], "its blocks have"),
        (None, lambda lengths: np.where(lengths == lengths[0], -1, lengths), "does not have the lengths"),
        (None, lambda lengths: lengths.astype(np.float32), "does not have the lengths"),
        (None, lambda lengths: lengths[:, None], "does not have the lengths"),
    ],
)
def test_wrong_content(task, cache, block, change, said):
    rewrite(cache, block, change)
    with hostile.bounded(), pytest.raises(UserError, match=rf"--teacher-cache .*{said}(.|\n)*`lskd cache`"):
        CachedTeacher.open(cache, task)


@pytest.mark.parametrize("k", [3, 16, 2**62, 0, "4"])
def test_another_k_in_the_manifest(task, cache, k):
    manifest = json.loads((cache / "cache.json").read_text())
    manifest["options"]["--top-k"] = k
    (cache / "cache.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"has records of|--top-k"):
        CachedTeacher.open(cache, task)


def test_extreme_but_valid_numbers(task, cache):
    """A class, or the rest, without probability; a probability a little above 1 by rounding."""
    for field, value, at in (("log_probs", -np.inf, (3, 3)), ("rest", -np.inf, 4), ("log_probs", 0.001, (5, 0))):
        rewrite(cache, 1, filled(field, value, at))
    rewrite(cache, 2, lambda records: np.array([(0, 0, np.nan)] * len(records), records.dtype))
    assert CachedTeacher.open(cache, task).k == K


@hostile.few
@given(st.data())
def test_random_changes_of_a_manifest(task, whole, tmp_path_factory, draw):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-cache"
    if not folder.exists():
        shutil.copytree(whole, folder)
    record = json.loads((whole / "cache.json").read_text())
    (folder / "cache.json").write_text(draw.draw(hostile.misvalued(record)), encoding="utf-8")
    hostile.read_or_refuse(lambda: CachedTeacher.open(folder, task), folder)


@hostile.few
@given(st.data())
def test_random_changes_of_a_block(task, whole, tmp_path_factory, draw):
    folder = tmp_path_factory.getbasetemp() / "fuzzed-cache"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    block = draw.draw(st.sampled_from((None, 0, 1)))
    path = next(folder.glob("lengths-*")) if block is None else blocks(folder)[block]
    content = draw.draw(hostile.mutated(path.read_bytes()))
    rewrite(folder, block, lambda _: content)

    def read() -> TopK:
        return lookup(CachedTeacher.open(folder, task), batch(task, range(60)))

    found = hostile.read_or_refuse(read, folder)
    assert found is None or 0 <= found.ids.min() <= found.ids.max() < 15


# The division into blocks.


@pytest.mark.parametrize("record", [6, 66, 40_000, 10**7])
@pytest.mark.parametrize("sentences", [1, 2, 1000, 200_000])
def test_blocks(sentences, record):
    lengths = np.random.default_rng(1).integers(0, 60, sentences)
    lengths[0] = 50
    edges = block_edges(lengths, record)
    assert edges[0] == 0 and edges[-1] == sentences and (np.diff(edges) > 0).all()
    assert len(edges) - 1 <= 256
    sizes = np.add.reduceat(lengths, edges[:-1]) * record
    assert len(sizes) == 1 or sizes.max() <= sizes.sum() / 256 + 2**21 + 60 * record
    assert block_edges(lengths.astype(np.int16), record).tolist() == edges.tolist()
