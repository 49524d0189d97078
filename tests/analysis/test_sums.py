"""Tests of sums over classes: whole, sketched, merged, packed and saved."""

import io

import pytest
import torch
from analysis_reference import by_class, mean
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.sketch import GROUPS, CountSketch
from fairseq_lskd.analysis.sums import ClassSums, PointSums


def make(examples, classes, seed, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    probs = (3 * torch.randn(examples, classes, generator=random, dtype=dtype)).softmax(-1)
    return probs, torch.randint(0, classes, (examples,), generator=random)


FIELDS = ("counts", "squares", "own", "sums")


@given(examples=st.integers(0, 40), classes=st.sampled_from([2, 3, 9]), seed=st.integers(0, 999))
@settings(max_examples=30)
def test_means_match_the_definition(examples, classes, seed):
    probs, target = make(examples, classes, seed)
    sums = ClassSums(torch.arange(classes), classes)
    sums.update(probs, target)
    for label, rows in by_class(probs, target, 1).items():
        assert sums.means()[label].tolist() == pytest.approx(mean(rows), abs=1e-14)
        assert sums.counts[label] == len(rows)
    assert int(sums.counts.sum()) == examples


@pytest.mark.parametrize("width", [None, 3])
@given(cut=st.integers(0, 50), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_shards_add_up_to_the_whole(width, cut, seed):
    probs, target = make(50, 8, seed)
    types = torch.tensor([5, 1, 7])
    whole, first, second = (ClassSums(types, 8, width) for _ in range(3))
    whole.update(probs, target)
    first.update(probs[:cut], target[:cut])
    second.update(probs[cut:], target[cut:])
    packed = first.unpacked(first.packed() + second.packed())
    first.merge(second)
    for found in (first, packed):
        assert torch.equal(found.counts, whole.counts)
        for name in FIELDS[1:]:
            torch.testing.assert_close(getattr(found, name), getattr(whole, name), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("width", [None, 3])
def test_a_saved_state_is_complete(width):
    sums = ClassSums(torch.tensor([5, 1, 7]), 8, width, seed=4)
    probs, target = make(60, 8, 1)
    sums.update(probs[:30], target[:30])
    stream = io.BytesIO()
    torch.save(sums.state(), stream)
    stream.seek(0)
    again = ClassSums.from_state(torch.load(stream, weights_only=True))
    for each in (sums, again):
        each.update(probs[30:], target[30:])
    assert all(torch.equal(getattr(sums, name), getattr(again, name)) for name in FIELDS)


def test_other_classes_are_skipped():
    probs, target = make(30, 6, 3)
    few, all_ = ClassSums(torch.tensor([4, 0]), 6), ClassSums(torch.arange(6), 6)
    for sums in (few, all_):
        sums.update(probs, target)
    assert torch.equal(few.sums, all_.sums[[4, 0]]) and torch.equal(few.counts, all_.counts[[4, 0]])


@pytest.mark.parametrize(
    "other", [ClassSums(torch.arange(3), 4), ClassSums(torch.arange(2), 4, 2), ClassSums(torch.arange(2), 4, seed=2)]
)
def test_different_sums_do_not_merge(other):
    with pytest.raises(ValueError, match="same classes, width and seed"):
        ClassSums(torch.arange(2), 4).merge(other)


def test_a_sketch_has_no_means():
    with pytest.raises(ValueError, match="sketch"):
        ClassSums(torch.arange(2), 4, 2).means()


class TestSketch:
    @given(size=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 999))
    @settings(max_examples=40)
    def test_it_is_linear_and_adds_up_each_coordinate_once(self, size, width, seed):
        sketch = CountSketch(size, width, seed)
        rows = torch.randn(3, size, dtype=torch.float64)
        groups = torch.tensor([0, 7, GROUPS - 1])
        found = sketch(rows, groups)
        assert found.shape == (3, min(width, size))
        torch.testing.assert_close(sketch(2 * rows, groups), 2 * found)
        whole = sketch(torch.eye(size, dtype=torch.float64), torch.full((size,), 7))
        assert torch.equal(whole.abs().sum(1), torch.ones(size, dtype=torch.float64))
        torch.testing.assert_close(rows[1] @ whole, found[1])

    @pytest.mark.parametrize(("size", "width"), [(12, 4), (13, 4), (5, 5), (7, 3), (100, 1)])
    def test_collision_is_the_share_of_pairs_in_one_bucket(self, size, width):
        sketch = CountSketch(size, width)
        bucket = sketch(torch.eye(size), torch.zeros(size, dtype=torch.long)).abs().argmax(1)
        same = sum(bool(bucket[i] == bucket[j]) for i in range(size) for j in range(size) if i != j)
        assert sketch.collision == pytest.approx(same / (size * (size - 1)))
        assert sketch.collision <= 1 / sketch.width

    def test_squared_norms_have_the_stated_mean_and_variance(self):
        x = torch.randn(30, dtype=torch.float64)
        sketches = [CountSketch(30, 6, seed) for seed in range(3000)]
        found = torch.stack([sketch(x[None], torch.tensor([3])).square().sum() for sketch in sketches])
        wanted, fourth = float(x.square().sum()), float(x.pow(4).sum())
        variance = 2 * sketches[0].collision * (wanted**2 - fourth)
        assert found.mean().item() == pytest.approx(wanted, abs=4 * (variance / 3000) ** 0.5)
        assert found.var().item() == pytest.approx(variance, rel=0.15)


class TestPoints:
    def test_centres_and_spreads_match_their_definitions(self):
        points, target = torch.randn(40, 5), torch.randint(0, 4, (40,))
        sums = PointSums(torch.tensor([2, 0]), 4, 5)
        sums.update(points, target)
        for row, kind in enumerate((2, 0)):
            own = points[target == kind].double()
            centre = own.mean(0)
            torch.testing.assert_close(sums.centres()[row], centre)
            torch.testing.assert_close(sums.spreads()[row], (own - centre).square().sum(1).mean().sqrt())

    def test_shards_add_up_and_a_saved_state_is_complete(self):
        points, target = torch.randn(40, 5), torch.randint(0, 3, (40,))
        whole, first, second = (PointSums(torch.arange(3), 3, 5) for _ in range(3))
        whole.update(points, target)
        first.update(points[:11], target[:11])
        second.update(points[11:], target[11:])
        first = PointSums.from_state(first.state())
        first.merge(second)
        torch.testing.assert_close(first.centres(), whole.centres())
        torch.testing.assert_close(first.spreads(), whole.spreads())
        with pytest.raises(ValueError, match="same classes"):
            first.merge(PointSums(torch.arange(2), 3, 5))
