"""A few updates with every divergence: the student comes closer to its teacher."""

import pytest
import torch
from cached import write_cache
from tiny import batch, make_criterion, make_model

from fairseq_lskd.losses import DIVERGENCES

pytestmark = pytest.mark.usefixtures("teachers_loaded_once")


def distances(task, teacher_path, updates=12, **settings):
    """Return the teacher's term on one batch before each update; no other term is trained on by default."""
    student = make_model(task, "--dropout", "0", seed=3).train()
    criterion = make_criterion(task, "word_kd", teacher_path=str(teacher_path), **{"kd_weight": 1.0} | settings).train()
    sample, found = batch(task, range(12)), []
    optimizer = torch.optim.Adam([*student.parameters(), *criterion.parameters()], lr=3e-3)
    for _ in range(updates):
        optimizer.zero_grad()
        loss, size, log = criterion(student, sample)
        (loss / size).backward()
        optimizer.step()
        found.append(log["kd_loss"].item())
    return found


@pytest.mark.parametrize("name", DIVERGENCES)
def test_every_divergence_trains(task, teacher_path, name):
    found = distances(task, teacher_path, kd_divergence=name)
    assert found[-1] < 0.8 * found[0]


def test_a_sampled_cache_trains(bitext, task, teacher_path, tmp_path):
    """The student comes closer to the teacher's whole distribution, which it never sees."""
    cache = write_cache(bitext, teacher_path, tmp_path / "cache", "--sampled", "2", "--draws", "12")
    student = make_model(task, "--dropout", "0", seed=3).train()
    cached = make_criterion(task, "word_kd", teacher_cache=str(cache), kd_weight=1.0).train()
    whole = make_criterion(task, "word_kd", teacher_path=str(teacher_path), kd_weight=1.0).eval()
    sample, found = batch(task, range(12)), []
    optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)
    for cached.epoch in range(1, 13):
        found.append(whole(student, sample)[2]["kd_loss"].item())
        optimizer.zero_grad()
        loss, size, _ = cached(student, sample)
        (loss / size).backward()
        optimizer.step()
    assert found[-1] < 0.8 * found[0]
