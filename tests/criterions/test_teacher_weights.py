"""`--teacher-weights`: an ensemble with unequal weights, online and cached."""

import json

import pytest
from cached import write_cache
from tiny import batch, make_criterion, make_model, make_task

from fairseq_lskd.losses import Mixture, top_k
from fairseq_lskd.teachers import CachedTeacher, OnlineTeacher


def losses(task, paths, **settings):
    student, sample = make_model(task).eval(), batch(task, range(6))
    return [
        make_criterion(task, "word_kd", teacher_path=paths, loss_form=form, kd_weight=1.0, **settings)
        .train()(student, sample)[0]
        .item()
        for form in ("fused", "plain")
    ]


@pytest.mark.parametrize("settings", [{}, {"kd_divergence": "reverse_kl", "kd_temperature": 2.0}])
def test_both_forms_are_alike_and_depend_on_the_weights(task, teacher_path, other_teacher_path, settings):
    paths = f"{teacher_path}:{other_teacher_path}"
    found = {
        weights: losses(task, paths, teacher_weights=weights, **settings) for weights in ("3:1", "0.75:0.25", "entropy")
    }
    equal = losses(task, paths, **settings)
    for fused, plain in (*found.values(), equal):
        assert fused == pytest.approx(plain, rel=1e-5)
    assert found["3:1"] == pytest.approx(found["0.75:0.25"], rel=1e-6)
    assert len({round(each[0], 3) for each in (*found.values(), equal)}) == 3
    nearly_alone = losses(task, paths, teacher_weights="1:1e-9", **settings)
    assert nearly_alone == pytest.approx(losses(task, str(teacher_path), **settings), rel=1e-4)


def test_a_cache_records_the_weights(bitext, task, teacher_path, other_teacher_path, tmp_path):
    paths = f"{teacher_path}:{other_teacher_path}"
    cache = write_cache(bitext, paths, tmp_path / "cache", "--teacher-weights", "3:1")
    sample = batch(task, [3, 30])
    real = sample["target"].ne(task.target_dictionary.pad())
    teacher = OnlineTeacher.from_checkpoints(paths, make_task(bitext))
    teacher.mixture = Mixture((3.0, 1.0))
    wanted = top_k(teacher.log_probs(sample["net_input"], next(make_model(task).parameters()))[real], 4)
    found = CachedTeacher.open(cache, task).lookup(sample["id"], real.sum(1))
    assert (found.log_probs - wanted.log_probs).abs().max() < 1e-2
    recorded = json.loads((cache / "cache.json").read_text())["options"]["--teacher-weights"]
    assert sorted(map(float, recorded.split(":"))) == [0.25, 0.75]
    # With teachers and weights in reverse order the options are the same, with only the teachers reversed they are not.
    reverse = f"{other_teacher_path}:{teacher_path}"
    write_cache(bitext, reverse, cache, "--teacher-weights", "1:3")
    with pytest.raises(SystemExit, match="--teacher-weights: 0"):
        write_cache(bitext, reverse, cache, "--teacher-weights", "3:1")
    with pytest.raises(SystemExit, match=r"--teacher-weights: 0.*, in this command none"):
        write_cache(bitext, paths, cache)
