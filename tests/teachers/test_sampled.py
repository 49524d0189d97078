"""Sampled caches: writing, reading, and refused options."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cached import K, blocks, contents, flip, write_cache
from tiny import batch, make_task

from fairseq_lskd.cli import main
from fairseq_lskd.errors import UserError
from fairseq_lskd.losses import Sampled, top_k
from fairseq_lskd.losses.sampled import dense
from fairseq_lskd.teachers import CachedTeacher, OnlineTeacher
from fairseq_lskd.teachers.cache import record_dtype
from fairseq_lskd.teachers.sampled import Plan, affordable, chances, choose, errors

#: Draws per token, and copies of the draws.
M, R = 3, 4
FLAGS = ("--sampled", str(M), "--draws", str(R))


@pytest.fixture(scope="module")
def cache(bitext, teacher_path, tmp_path_factory):
    return write_cache(bitext, teacher_path, tmp_path_factory.mktemp("sampled") / "cache", *FLAGS)


@pytest.fixture(scope="module")
def loaded_task(bitext):
    return make_task(bitext)


def whole(task, teacher_path, sample):
    """Return the teacher's log-probabilities at the batch's tokens, `[N, K]`, and the sentences' lengths."""
    teacher = OnlineTeacher.from_checkpoints(str(teacher_path), task)
    real = sample["target"].ne(task.target_dictionary.pad())
    return teacher.log_probs(sample["net_input"], torch.empty(0))[real], real.sum(1)


def test_a_record_has_the_documented_size():
    """k classes of 4 bytes, two numbers of 2 bytes, and 2 bytes per draw; with a large vocabulary 6 and 4 bytes."""
    assert record_dtype(8, 32_000, 7).itemsize == 8 * 4 + 2 + 2 + 7 * 2 == 50
    assert record_dtype(8, 32_000, 7, 3).itemsize == 8 * 4 + 4 + 3 * 7 * 2
    assert record_dtype(8, 70_000, 7).itemsize == 8 * 6 + 4 + 7 * 4


def test_a_cache_has_the_teachers_head_and_draws_from_its_tail(loaded_task, teacher_path, cache):
    sample = batch(loaded_task, [30, 2, 17, 5])
    log_probs, lengths = whole(loaded_task, teacher_path, sample)
    teacher = CachedTeacher.open(cache, loaded_task)
    assert (teacher.k, teacher.draws) == (K, R)
    best = top_k(log_probs, K)
    seen = set()
    for copy in range(R):
        found = teacher.lookup(sample["id"], lengths, copy)
        assert isinstance(found, Sampled) and found.ids.shape == (len(log_probs), K + M)
        assert torch.equal(found.ids[:, :K], best.ids)
        torch.testing.assert_close(found.probs[:, :K], best.log_probs.exp(), rtol=5e-3, atol=1e-5)
        torch.testing.assert_close(found.probs.sum(1), torch.ones(len(log_probs)))
        torch.testing.assert_close(
            found.probs[:, K:], (best.rest.exp() / M).unsqueeze(1).expand(-1, M), rtol=1e-2, atol=1e-5
        )
        assert not (found.ids[:, K:, None] == best.ids[:, None]).any()
        negentropy = (log_probs.exp() * log_probs).sum(-1)
        torch.testing.assert_close(found.negentropy, negentropy, rtol=5e-3, atol=5e-3)
        seen.add(tuple(found.ids[:, K:].flatten().tolist()))
    assert len(seen) == R
    again = teacher.lookup(sample["id"], lengths, R + 1)
    assert torch.equal(again.ids, teacher.lookup(sample["id"], lengths, 1).ids)


def test_the_mean_over_copies_is_the_teacher(bitext, loaded_task, teacher_path, tmp_path):
    """For each class, up to the float16 of the cache."""
    copies = 400
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", "--sampled", "2", "--draws", str(copies))
    sample = batch(loaded_task, [30, 2])
    log_probs, lengths = whole(loaded_task, teacher_path, sample)
    teacher = CachedTeacher.open(cache, loaded_task)
    mean = torch.stack([dense(teacher.lookup(sample["id"], lengths, n), 15) for n in range(copies)]).mean(0)
    probs = log_probs.exp()
    rest = 1 - probs.topk(K).values.sum(1, keepdim=True)
    error = (rest * probs / 2 / copies).sqrt()
    assert ((mean - probs).abs() <= 5 * error + 5e-3 * probs + rest / copies).all()


def test_shards_write_what_one_process_does(bitext, teacher_path, cache, tmp_path):
    """The draws of a sentence do not depend on the process that writes them."""
    for shard in (1, 0):
        write_cache(bitext, teacher_path, tmp_path / "c", *FLAGS, "--shard-id", str(shard), "--num-shards", "2")
    assert contents(tmp_path / "c") == contents(cache)
    assert not np.array_equal(chances(1, 5, 3, 2), chances(1, 6, 3, 2))
    assert np.array_equal(chances(1, 5, 3, 2), chances(1, 5, 3, 2))


def test_top_k_and_sampled_caches_are_not_confused(bitext, teacher_path, cache, tmp_path):
    plain = write_cache(bitext, teacher_path, tmp_path / "plain")
    assert "--sampled" not in (plain / "plan.json").read_text()
    with pytest.raises(SystemExit) as found:
        write_cache(bitext, teacher_path, plain, *FLAGS)
    assert "--sampled: none, in this command 3" in str(found.value)
    with pytest.raises(SystemExit, match=r"--sampled: 3, in this command none"):
        write_cache(bitext, teacher_path, cache)
    with pytest.raises(SystemExit, match=r"--seed: 1, in this command 2"):
        write_cache(bitext, teacher_path, cache, *FLAGS, "--seed", "2")


def run(bitext, teacher_path, out, *flags):
    main(["cache", str(bitext), "--teacher-path", str(teacher_path), "--out", str(out), *flags])


def test_a_budget_chooses_head_and_draws_once(bitext, loaded_task, teacher_path, tmp_path, capsys, monkeypatch):
    out = tmp_path / "cache"
    run(bitext, teacher_path, out, "--bytes-per-token", "23")
    said = capsys.readouterr().err
    plan = json.loads((out / "cache.json").read_text())
    k, m = plan["options"]["--top-k"], plan["options"]["--sampled"]
    size = record_dtype(k, 15, m).itemsize
    assert 22 <= size <= 23 and plan["bytes_per_token"] == 23
    assert "of labels drawn from the teacher" in said
    assert f"--bytes-per-token 23: chose --top-k {k} and --sampled {m}, " in said and f"take {size} bytes" in said
    assert f"a head of {k} and {m} draws: bias" in said and "--kd-rest renormalise: bias" in said
    assert CachedTeacher.open(out, loaded_task).k == k
    # A second call neither loads the teacher nor measures.
    monkeypatch.setattr("fairseq_lskd.teachers.OnlineTeacher.from_checkpoints", None)
    run(bitext, teacher_path, out, "--bytes-per-token", "23")
    assert capsys.readouterr().out.endswith("up to date\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--bytes-per-token", "9"), "--bytes-per-token 9: a head of one type and one draw take 10 bytes"),
        (("--bytes-per-token", "11", "--draws", "2"), "take 12 bytes with --draws 2"),
        (("--bytes-per-token", "48", "--top-k", "4"), "--top-k 4: --bytes-per-token chooses"),
        (("--bytes-per-token", "48", "--sampled", "4"), "--sampled 4: --bytes-per-token chooses"),
        (("--draws", "2"), "--draws 2: only a sampled cache"),
        (("--sampled", "0"), "--sampled 0: expected 1 or more"),
        (("--sampled", "2", "--top-k", "15"), "--top-k 15 is the whole vocabulary, so --sampled 2 has nothing to draw"),
    ],
)
def test_refused_options(bitext, teacher_path, tmp_path, flags, said):
    with pytest.raises(SystemExit) as found:
        run(bitext, teacher_path, tmp_path / "cache", *flags)
    assert said in str(found.value)
    assert not (tmp_path / "cache").exists()


def test_invalid_draws(bitext, loaded_task, teacher_path, tmp_path):
    """A draw outside of the vocabulary, in a file with the right digest."""
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", *FLAGS)
    path = blocks(cache)[0]
    block = np.load(path)
    offset = block.dtype.fields["drawn"][1]
    flip(path, offset=path.stat().st_size - block.nbytes + offset + 1, bit=128)
    with pytest.raises(UserError, match="damaged"):
        CachedTeacher.open(cache, loaded_task)
    from fairseq_lskd.teachers.cache import _check_records

    with pytest.raises(UserError, match=r"token 0 of .* draws \["):
        _check_records("cache", [np.load(path)], [path], 15)


def test_a_budget_gives_the_smallest_variance():
    assert affordable(48, 32_000, 1) == {k: 1 + (48 - 10 - 4 * (k - 1)) // 2 for k in range(1, 11)}
    flat = torch.full((4, 100), 0.1 / 99, dtype=torch.float64)
    flat[:, 0] = 0.9
    assert choose(48, flat.log(), 1, 7) == Plan(1, 20, 1, 7)


def test_the_report_shows_the_bias_of_top_k_caches():
    torch.manual_seed(4)
    log_probs = torch.randn(200, 60).log_softmax(-1)
    found = [*errors(Plan(3, 12), log_probs).values()]
    assert found[0].bias < 2 * found[0].chance < found[1].bias
    assert found[0].deviation > 0 and found[1].deviation == pytest.approx(0, abs=1e-4)
    assert found[2].bias > 1.3 * found[0].chance
