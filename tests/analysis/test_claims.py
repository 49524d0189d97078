"""Tests of verdicts and of the recommendation."""

import dataclasses

import pytest
import torch

from fairseq_lskd.analysis.advice import ALONE, AT_ANY, CAUTION, LEANING, OPEN, SURE, advise
from fairseq_lskd.analysis.bootstrap import Interval
from fairseq_lskd.analysis.claims import RELATIONS, claims, matched
from fairseq_lskd.analysis.classes import Pairs, pair_up
from fairseq_lskd.analysis.compare import compare
from fairseq_lskd.analysis.intervals import HELD, NOT_HELD, NOT_MEASURED, UNDECIDED
from fairseq_lskd.analysis.measurement import Measurement, Plan
from fairseq_lskd.analysis.sections import Findings
from fairseq_lskd.analysis.sections.truth import _pairs as truth_pairs
from fairseq_lskd.analysis.system import System

CLASSES, TYPES, EXAMPLES, DIM = 30, 12, 600, 6


def system(name, *, smoothing=0.0, peak=4.0, noise=1.5, spread=1.0, right=0.0, seed=0, looks=None, **more):
    """Return a model with a peak at each class and noise within classes. `right` is a share of perfect predictions."""
    shared, own = torch.Generator().manual_seed(1), torch.Generator().manual_seed(seed + 2)
    target = torch.randint(0, TYPES, (EXAMPLES,), generator=shared)
    kinds = torch.randn(TYPES, CLASSES, generator=shared)
    logits = kinds[target] + noise * torch.randn(EXAMPLES, CLASSES, generator=own)
    logits[torch.arange(EXAMPLES), target] += peak
    better = torch.rand(EXAMPLES, generator=own) < right
    logits[better, target[better]] += 20
    counts = torch.bincount(target, minlength=CLASSES)
    found = Measurement(Plan.make(counts, 5, 1e9), DIM)
    centres = 3 * torch.randn(TYPES, DIM, generator=shared)
    points = centres[target] + spread * torch.randn(EXAMPLES, DIM, generator=own)
    found.update(logits.log_softmax(-1), target, torch.arange(EXAMPLES) // 10, points)
    return System(name, found, smoothing, looks=looks, **more)


def compared(base, other):
    from fairseq_lskd.analysis.classes import confusion

    return compare(base, other, pair_up(confusion([base.relation, other.relation])))


def verdicts(base, other, students=()):
    return {claim.says: claim for claim in claims(compared(base, other), students)}


ERASES = "Smoothing erases information: the predictions within a class vary less"
APART = "Similar classes move apart, relative to the size of their clusters"
STUDENT = "The student of the smoothed teacher is as good or better"
GOOD = "The smoothed teacher is as accurate or more accurate"


def test_smaller_variances_and_clusters_support_the_claims():
    found = verdicts(system("A"), system("B", smoothing=0.1, noise=0.7, spread=0.5))
    assert found[ERASES].verdict == found[APART].verdict == HELD
    assert found[ERASES].found.high < 0 < found[APART].found.low
    assert found[RELATIONS].verdict == HELD
    back = verdicts(system("B", noise=0.7, spread=0.5), system("A", smoothing=0.1))
    assert back[ERASES].verdict == back[APART].verdict == NOT_HELD


def test_equal_models_are_undecided_except_for_equality():
    found = verdicts(system("A"), system("B", smoothing=0.1))
    assert found[ERASES].verdict == found[APART].verdict == UNDECIDED
    assert found[GOOD].verdict == HELD  # not worse
    assert found[ERASES].found == Interval(0, 0, 0)


def test_unmeasured_claims_say_what_is_missing():
    found = verdicts(system("A"), system("B", smoothing=0.1))
    assert found[STUDENT].verdict == NOT_MEASURED and "--student" in found[STUDENT].measured
    without = dataclasses.replace(system("B", smoothing=0.1), why_no_points="it is an ensemble")
    without.measurement.points = None
    claim = verdicts(system("A"), without)[APART]
    assert (claim.verdict, claim.found) == (NOT_MEASURED, None) and "it is an ensemble" in claim.measured


def test_a_sketch_widens_the_interval_by_its_error():
    a, b = system("A"), system("B", noise=0.7)
    exact = compared(a, b).variance
    for each in (a, b):
        each.__dict__["stability"] = dataclasses.replace(each.stability, standard_error=0.01)
    wide = compared(a, b).variance
    assert wide.low == pytest.approx(exact.low - 2 * 0.01 * 20**0.5)
    assert wide.high == pytest.approx(exact.high + 2 * 0.01 * 20**0.5)


def test_models_with_different_examples_are_not_compared():
    other = system("B")
    other.measurement.tokens.unit.add_(1)
    with pytest.raises(ValueError, match="not measured on the same examples"):
        compared(system("A"), other)


def student(name, teacher, temperature=1.0, **more):
    return system(name, smoothing=None, taught_by=teacher, temperature=temperature, **more)


def names(pairs):
    return [(one.name, other.name) for one, other in pairs]


def test_students_are_matched_at_the_same_temperature_the_lowest_first():
    c = compared(system("A"), system("B", smoothing=0.1))
    cold, hot = student("a1", "A", 1.0), student("a4", "A", 4.0)
    others = [student("b4", "B", 4.0), student("b2", "B", 2.0)]
    assert names(matched(c, [hot, cold, *others])) == [("a4", "b4")]
    assert matched(c, [cold, *others]) == []
    assert names(matched(c, [hot, cold, *others, student("b1", "B", 1.0)])) == [("a1", "b1"), ("a4", "b4")]


def test_students_with_different_settings_are_not_matched():
    c = compared(system("A"), system("B", smoothing=0.1))
    word, both, small = {"method": "word"}, {"method": "both"}, {"method": "word", "size": "student_small"}
    students = [
        student(f"{teacher.lower()}-{i}", teacher, setting=setting)
        for i, setting in enumerate((word, both, small))
        for teacher in "BA"
    ]
    assert names(matched(c, students)) == [("a-0", "b-0"), ("a-1", "b-1"), ("a-2", "b-2")]
    assert matched(c, [students[1], students[2]]) == []


def test_seeds_are_paired_where_they_are_the_same():
    c = compared(system("A"), system("B", smoothing=0.1))
    students = [
        dataclasses.replace(student(f"{teacher}{seed}", teacher), seed=seed) for teacher in "AB" for seed in (1, 2)
    ]
    assert names(matched(c, students)) == [("A1", "B1"), ("A2", "B2")]
    assert names(matched(c, [students[0], students[3]])) == [("A1", "B2")]


def test_every_matched_pair_is_judged_and_named():
    c = compared(system("A"), system("B", smoothing=0.1))
    students = [
        student("a-word", "A", setting={"method": "word"}),
        student("a-both", "A", setting={"method": "both"}, right=0.9),
        student("b-word", "B", setting={"method": "word"}, right=0.9, seed=3),
        student("b-both", "B", setting={"method": "both"}, seed=3),
    ]
    word, both = (claim for claim in claims(c, students) if claim.says == STUDENT)
    assert word.verdict == HELD and "b-word compared with a-word" in word.measured
    assert both.verdict == NOT_HELD and "b-both compared with a-both" in both.measured


def test_extremes_of_temperature_have_the_same_setting():
    students = [
        student("w2", "A", 2.0, setting={"method": "word"}),
        student("w1", "A", 1.0, setting={"method": "word"}),
        student("both-8", "A", 8.0, setting={"method": "both"}),
        student("b16", "B", 16.0, setting={"method": "word"}),
    ]
    c = compared(system("A"), system("B", smoothing=0.1))
    found = Findings((c.base, c.other), students, (), "valid", Pairs(*[torch.zeros(0)] * 2), "confusion", None)
    low, high = found.extremes("A")
    assert (low.name, high.name) == ("w1", "w2")
    assert found.extremes("B") is None


def test_divergences_from_the_truth_are_compared_for_matched_students():
    students = [student(f"{t.lower()}-{m}", t, setting={"method": m}) for m in ("word", "both") for t in "AB"]
    teachers = system("A"), system("B", smoothing=0.1)
    pairs = pair_up(teachers[0].relation)
    found = Findings(teachers, students, (), "valid", pairs, "confusion", None)
    assert list(truth_pairs(found)) == [("A", "B"), ("a-word", "b-word"), ("a-both", "b-both")]


class TestAdvice:
    def advice(self, teachers, students=()):
        comparisons = [compared(teachers[0], other) for other in teachers[1:]]
        return advise(teachers, comparisons, [claims(c, students) for c in comparisons], students)

    def test_the_teacher_of_the_better_student_is_recommended(self):
        teachers = [system("A"), system("B", smoothing=0.1)]
        students = [student("a", "A", right=0.9), student("b", "B", seed=3), student("b4", "B", 4.0, seed=4)]
        found = self.advice(teachers, students)
        assert (found.teacher, found.temperature, found.confidence) == ("A", 1.0, SURE)
        assert found.headline == "Distil from A at temperature 1."
        assert CAUTION in found.reasons

    def test_a_larger_student_does_not_decide_for_its_teacher(self):
        teachers, small, big = [system("A"), system("B", smoothing=0.1)], {"size": "small"}, {"size": "big"}
        larger = student("a-big", "A", right=0.95, setting=big)
        students = [larger, student("a", "A", seed=3, setting=small), student("b", "B", right=0.9, setting=small)]
        found = self.advice(teachers, students)
        assert (found.teacher, found.confidence) == ("B", SURE)
        assert any("student b predicts" in line and "comparable student, a," in line for line in found.reasons)

    def test_students_with_different_settings_are_ignored(self):
        students = [
            student("a", "A", 2.0, right=0.95, setting={"method": "word"}),
            student("b", "B", setting={"method": "both"}),
        ]
        found = self.advice([system("A"), system("B", smoothing=0.1)], students)
        assert (found.confidence, found.temperature) == (OPEN, 1.0)
        assert any("no such pair" in line and "can settle the question" in line for line in found.reasons)

    def test_equal_students_are_undecided(self):
        found = self.advice([system("A"), system("B", smoothing=0.1)], [student("a", "A"), student("b", "B")])
        assert found.confidence == OPEN and found.headline.startswith("Undecided between the teachers")

    def test_without_students_the_better_teacher_is_recommended(self):
        found = self.advice([system("A"), system("B", smoothing=0.1, right=0.9)])
        assert (found.teacher, found.confidence) == ("B", LEANING)
        assert any("Higher temperatures are not recommended" in line for line in found.reasons)

    def test_equally_accurate_teachers_are_compared_by_separation(self):
        found = self.advice([system("A"), system("B", smoothing=0.1, spread=0.5)])
        assert (found.teacher, found.confidence) == ("B", LEANING)
        found = self.advice([system("A"), system("B", smoothing=0.1)])
        assert found.confidence == OPEN

    def test_one_teacher_gives_the_best_temperature(self):
        found = self.advice([system("A")], [student("a1", "A", 1.0, seed=3), student("a2", "A", 2.0, right=0.9)])
        assert (found.teacher, found.temperature, found.confidence) == ("A", 2.0, SURE)
        assert found.headline == "Distil from A at temperature 2."
        alone = self.advice([system("A")])
        assert (alone.temperature, alone.confidence) == (1.0, ALONE)

    def test_one_teacher_with_equal_students_is_undecided(self):
        found = self.advice([system("A")], [student("a1", "A", 1.0), student("a2", "A", 2.0)])
        assert found.confidence == AT_ANY
        assert found.headline.startswith("Undecided between the temperatures of the students of A")
        assert any("the students are not significantly different" in line for line in found.reasons)

    @pytest.mark.parametrize(
        "students",
        [
            [student("a", "A", 1.0)],
            [student("a", "A", 1.0), student("a-seed2", "A", 1.0, seed=3)],
            [
                student("a", "A", None, setting={"method": "sequence"}),
                student("b", "A", 1.0, setting={"method": "word"}),
            ],
        ],
        ids=["one", "seeds", "methods"],
    )
    def test_students_with_equal_temperatures_or_different_settings_are_ignored(self, students):
        found = self.advice([system("A")], students)
        assert (found.confidence, found.temperature) == (ALONE, 1.0)
        assert found.headline.startswith("Distil from A at temperature 1.") and "only teacher" in found.headline
