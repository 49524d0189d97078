"""Tests of equation (2): by hand, against naive loops, and of the error of sketches."""

import subprocess
import sys

import pytest
import torch
from analysis_reference import intra_class_variance, variances
from hypothesis import given, settings
from hypothesis import strategies as st

from fairseq_lskd.analysis.measurement import Plan
from fairseq_lskd.analysis.stability import buckets, stability
from fairseq_lskd.analysis.sums import ClassSums


def measured(probs, target, *, types=None, width=None, seed=0, min_count=1):
    classes = probs.size(1)
    sums = ClassSums(torch.arange(classes) if types is None else types, classes, width, seed)
    sums.update(probs, target)
    return stability(sums, min_count=min_count)


def test_one_minus_stability_by_hand():
    """Class 0: (0.8, 0.2, 0), (0.6, 0.2, 0.2): mean (0.7, 0.2, 0.1), both 0.01 + 0.01 from it: variance 0.02.
    Class 2: (0, 0, 1), (0.5, 0.5, 0): mean (0.25, 0.25, 0.5), both 0.0625 + 0.0625 + 0.25: 0.375. Class 1 occurs once.
    1 - S = (0.02 + 0.375) / 2; with min_count 1 class 1 counts too, with variance 0.
    """
    probs = torch.tensor([[0.8, 0.2, 0], [0, 0, 1], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.5, 0.5, 0]]).double()
    target = torch.tensor([0, 2, 0, 1, 2])
    assert measured(probs, target, min_count=2).value == pytest.approx(0.1975)
    assert measured(probs, target, min_count=1).value == pytest.approx(0.395 / 3)
    found = measured(probs, target, min_count=2)
    assert found.variances.tolist() == pytest.approx([0.02, 0.375])
    assert (found.types.tolist(), found.counts.tolist(), found.error_bound) == ([0, 2], [2, 2], 0)


@given(
    examples=st.integers(1, 60),
    classes=st.sampled_from([2, 5, 11]),
    seed=st.integers(0, 9999),
    scale=st.sampled_from([0.1, 3, 30]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=40)
def test_the_exact_form_matches_the_definition(examples, classes, seed, scale, dtype):
    random = torch.Generator().manual_seed(seed)
    probs = (scale * torch.randn(examples, classes, generator=random, dtype=dtype)).softmax(-1)
    target = torch.randint(0, classes, (examples,), generator=random)
    wanted = variances(probs, target, 1)
    found = measured(probs, target)
    assert dict(zip(found.types.tolist(), found.variances.tolist(), strict=True)) == pytest.approx(wanted, abs=1e-13)
    assert found.value == pytest.approx(intra_class_variance(probs, target, 1), abs=1e-13)


@given(seed=st.integers(0, 999))
@settings(max_examples=20)
def test_bounds_and_extremes(seed):
    """The value is between 0 (examples of a class are equal) and 1 - 1/n (each predicts another class)."""
    random = torch.Generator().manual_seed(seed)
    same = torch.rand(5, generator=random).softmax(-1).expand(4, 5)
    assert measured(same, torch.zeros(4, dtype=torch.long)).value == pytest.approx(0, abs=1e-7)
    sure = torch.eye(5, dtype=torch.float64)
    assert measured(sure, torch.zeros(5, dtype=torch.long)).value == pytest.approx(1 - 1 / 5)


def corpus(seed=0, examples=3000, classes=400, frequent=60):
    """Return predictions similar to a translation model's: a peak, rivals shared within a class, and noise."""
    random = torch.Generator().manual_seed(seed)
    target = torch.randint(0, frequent, (examples,), generator=random)
    rivals = 3 * torch.randn(frequent, classes, generator=random)
    logits = rivals[target] + 1.5 * torch.randn(examples, classes, generator=random)
    logits[torch.arange(examples), target] += 6 * torch.rand(examples, generator=random)
    return logits.softmax(-1), target


class TestBoundedMemory:
    def test_a_sketch_as_wide_as_the_vocabulary_is_exact(self):
        probs, target = corpus()
        assert measured(probs, target, width=400).value == measured(probs, target).value

    def test_the_error_is_below_the_stated_bound_and_as_large_as_stated(self):
        probs, target = corpus()
        exact = measured(probs, target)
        found = [measured(probs, target, width=16, seed=seed) for seed in range(60)]
        errors = torch.tensor([one.value - exact.value for one in found])
        bounds = torch.tensor([one.error_bound for one in found])
        stated = torch.tensor([one.standard_error for one in found]).mean()
        assert (errors.abs() < bounds).double().mean() >= 0.95
        # The estimate is unbiased, and the bound is neither too small nor ten times too large.
        assert errors.mean().abs() < 4 * errors.std() / 60**0.5
        assert stated / 4 < errors.std() < stated

    def test_the_own_probability_is_exact(self):
        """If only the class itself has probability, a sketch has nothing to estimate."""
        p = torch.rand(50, dtype=torch.float64)
        probs = torch.zeros(50, 40, dtype=torch.float64)
        probs[:, 3] = p
        found = measured(probs, torch.full((50,), 3), types=torch.tensor([3]), width=2)
        assert found.value == pytest.approx(p.var(unbiased=False).item(), abs=1e-12) and found.error_bound == 0

    def test_the_error_bound_falls_as_the_sketch_widens(self):
        probs, target = corpus()
        bounds = [measured(probs, target, width=width).error_bound for width in (8, 32, 128)]
        assert bounds[0] > 1.5 * bounds[1] > 2 * bounds[2] > 0

    def test_frequent_classes_whole_and_others_sketched(self):
        probs, target = corpus()
        counts = torch.bincount(target, minlength=400)
        plan = Plan.make(counts, 5, 8 * (60 * 400) // 2)
        assert len(plan.exact) and len(plan.sketched) and plan.bytes <= 8 * (60 * 400) // 2
        assert counts[plan.exact].min() >= counts[plan.sketched].max()
        parts = [ClassSums(plan.exact, 400), ClassSums(plan.sketched, 400, plan.width)]
        for part in parts:
            part.update(probs, target)
        found, exact = stability(*parts, min_count=5), measured(probs, target, min_count=5)
        assert sorted(found.types.tolist()) == sorted(exact.types.tolist())
        assert abs(found.value - exact.value) <= found.error_bound
        assert found.error_bound < measured(probs, target, width=plan.width, min_count=5).error_bound

    def test_a_large_vocabulary_fits_two_gigabytes(self):
        """The whole means of 32,000 frequent types would take 8.2 GB."""
        plan = Plan.make(torch.full((32_000,), 9), 5, 2**30)
        assert plan.bytes <= 2**30 and plan.width >= 2048 and len(plan.exact) >= 2000
        assert len(plan.types) == len(set(plan.types.tolist())) == 32_000

    @pytest.mark.slow
    def test_measuring_a_large_vocabulary_takes_two_gigabytes(self):
        """The memory is that of the process: torch, all pages of the sums, an update and the estimate."""
        code = """
import resource, torch
from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.analysis.stability import stability
torch.set_num_threads(1)
V = 32_000
found = Measurement(Plan.make(torch.full((V,), 5), 1, 2**30))
for sums in (found.exact, found.sketched):
    sums.sums.fill_(1e-6)
    sums.counts.fill_(1)
for start in (0, V - 128):
    target = torch.arange(start, start + 128)
    found.update(torch.randn(128, V).log_softmax(1), target, target)
measured = stability(found.exact, found.sketched, min_count=1)
assert len(measured.types) == V and 0 < measured.error_bound < 1e-5, measured.error_bound
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert int(done.stdout) < 2e9

    @pytest.mark.parametrize(
        ("counts", "budget", "said"),
        [([1, 2, 3], 1e9, "no class has 5 examples; the most frequent has 3"), ([9] * 1000, 10_000, "do not fit")],
    )
    def test_impossible_plans_are_refused(self, counts, budget, said):
        with pytest.raises(ValueError, match=said):
            Plan.make(torch.tensor(counts), 5, budget)


def test_intervals_contain_the_value_and_shrink_with_more_classes():
    probs, target = corpus()
    few = measured(probs, target, types=torch.arange(10)).interval()
    many = measured(probs, target).interval()
    for found in (few, many):
        assert found.low < found.value < found.high
    assert many.high - many.low < few.high - few.low


def test_every_class_is_in_one_bucket():
    counts = torch.tensor([1, 2, 4, 5, 9, 10, 5000])
    found = buckets(counts)
    assert [(bucket.name, int(bucket.members.sum())) for bucket in found] == [
        ("1", 1),
        ("2-4", 2),
        ("5-9", 2),
        ("10-19", 1),
        ("1000 or more", 1),
    ]
