"""Tests of measurements, their shards and their files."""

import io

import pytest
import torch
from reference import predictions

from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.losses.calibration import confidence_gaps


def make(examples=80, classes=9, dim=4):
    logits = 2 * torch.randn(examples, classes, dtype=torch.float64)
    target = torch.randint(0, classes, (examples,))
    return logits, target, torch.arange(examples) // 6, torch.randn(examples, dim)


@pytest.fixture
def plan():
    return Plan(9, torch.tensor([3, 1]), torch.tensor([0, 4, 8]), 5, 2)


def measure(plan, data, rows=slice(None)):
    logits, target, unit, hidden = (part[rows] for part in data)
    found = Measurement(plan, hidden.size(1))
    for part in torch.arange(len(target)).split(13):
        found.update(logits[part].log_softmax(-1), target[part], unit[part], hidden[part])
    return found


def test_rows_match_their_definitions(plan):
    logits, target, *rest = data = make()
    rows = measure(plan, data).tokens
    wanted = predictions(logits, target, torch.ones_like(target, dtype=torch.bool))
    assert int(rows.correct.sum()) == wanted.correct
    assert rows.entropy.sum().item() == pytest.approx(wanted.entropy)
    probs = logits.softmax(-1)
    assert rows.confidence.tolist() == pytest.approx(probs.max(1).values.tolist())
    assert rows.nll.tolist() == pytest.approx((-probs[torch.arange(80), target].log()).tolist())
    assert torch.equal(rows.target, target) and torch.equal(rows.unit, rest[0])
    gaps = confidence_gaps(rows.confidence, rows.correct)
    assert gaps.abs().sum().item() / len(rows) == pytest.approx(wanted.ece)


def test_shards_through_files_add_up_to_the_whole(plan):
    data = make()
    whole, merged = measure(plan, data), None
    for rows in (slice(0, 30), slice(30, 31), slice(31, 31), slice(31, 80)):
        part = measure(plan, data, rows) if rows.start < rows.stop else Measurement(plan)
        stream = io.BytesIO()
        torch.save(part.state(), stream)
        stream.seek(0)
        part = Measurement.from_state(torch.load(stream, weights_only=True))
        if merged is None:
            merged = part
        else:
            merged.merge(part)
    for name in ("exact", "sketched"):
        torch.testing.assert_close(
            getattr(merged, name).packed(), getattr(whole, name).packed(), rtol=1e-13, atol=1e-13
        )
    torch.testing.assert_close(merged.points.centres(), whole.points.centres())
    for name in ("unit", "target", "nll", "confidence", "correct", "entropy"):
        assert torch.equal(getattr(merged.tokens, name), getattr(whole.tokens, name))


def test_nan_is_refused(plan):
    log_probs = torch.full((2, 9), torch.nan)
    with pytest.raises(ValueError, match="not numbers"):
        Measurement(plan).update(log_probs, torch.tensor([0, 1]), torch.tensor([0, 0]))


def test_plan_takes_the_most_frequent_first():
    plan = Plan.make(torch.tensor([0, 7, 5, 9, 4]), 5, 1e6)
    assert plan.exact.tolist() == [3, 1, 2] and not len(plan.sketched) and plan.bytes == 8 * 3 * 5


def test_log_probabilities_of_units_by_hand():
    found = Measurement(Plan(2, torch.tensor([0, 1]), torch.tensor([]).long(), 2, 1))
    probs = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]])
    found.update(probs.log(), torch.tensor([0, 0, 1]), torch.tensor([7, 2, 7]))
    units, log_probs, count = found.by_unit()
    assert units.tolist() == [2, 7] and count.tolist() == [1, 2]
    assert log_probs.exp().tolist() == pytest.approx([0.25, 0.05])
