"""The papers' claims about label smoothing, each with a verdict: held, not held, undecided or not measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bootstrap import Interval
from .compare import Comparison, quality_difference
from .diffusion import Diffusion
from .intervals import NOT_MEASURED, verdict
from .system import System
from .terms import TRANSLATION, Terms

#: Loss of accuracy, in percentage points, up to which a model counts as equally good.
MARGIN = 0.5
#: Mean rank correlation above which relations count as preserved.
ALIKE = 0.5
RELATIONS = "The relations between classes are preserved"
SHEN = "Shen et al. 2021"
MULLER = "Müller et al. 2019"
CHANDRASEGARAN = "Chandrasegaran et al. 2022"


@dataclass(frozen=True)
class Claim:
    """A claim of a paper and its verdict on this data."""

    says: str
    source: str
    verdict: str
    measured: str  #: the measured quantity, or why it was not measured
    found: Interval | None = None
    shown: str = ""  #: the interval with its unit


def claims(
    comparison: Comparison,
    students: Sequence[System] = (),
    diffusions: dict[str, Diffusion] | None = None,
    terms: Terms = TRANSLATION,
) -> list[Claim]:
    """Judge all claims about `comparison.other`, the smoother teacher, compared with `comparison.base`.

    Args:
        comparison: comparison of the two teachers.
        students: students of either teacher.
        diffusions: diffusion of the students, by the teacher's name.
        terms: terms of the report. Claims that need students or dropout are left out if `terms.taught` is False.
    """
    c = comparison
    found = [
        _change(
            "Smoothing erases information: the predictions within a class vary less",
            f"{SHEN}, Table 1",
            c.variance,
            f"change of 1 - S, over {terms.kinds_in_full}",
            positive=False,
        ),
        _change(
            "The peak of a class's mean distribution drops",
            f"{SHEN}, Fig. 4",
            c.peak,
            f"change of the mean probability of a {terms.kind} at its own examples, over {terms.kinds_in_full}",
            positive=False,
        ),
        Claim(
            RELATIONS,
            f"{SHEN}, Fig. 4",
            verdict(c.rank_correlation, threshold=ALIKE),
            f"mean rank correlation of the off-diagonals, over {terms.kinds_in_full}; held above {ALIKE}",
            c.rank_correlation,
            c.rank_correlation.shown(3),
        ),
        _separation(c, terms),
        _change(
            "The smoothed teacher has a worse perplexity",
            f"{SHEN}, Fig. 7",
            c.nll,
            f"change of the negative log-likelihood, nats {terms.each}, over {terms.units}",
        ),
        _as_accurate(
            "The smoothed teacher is as accurate or more accurate",
            f"{SHEN}, Table 1, Fig. 7",
            c.accuracy,
            f"change of the {terms.accuracy}, percentage points, over {terms.units}",
            terms.more_quality,
        ),
        _change(
            "The smoothed teacher is better calibrated",
            f"{MULLER}, section 3",
            c.ece,
            f"change of the calibration error, over {terms.units}",
            positive=False,
        ),
    ]
    if terms.taught:
        found += [_information(c), *_students(c, students), _diffusion(c, diffusions or {})]
    return found


def _change(says: str, source: str, found: Interval, measured: str, positive: bool = True, digits: int = 4) -> Claim:
    """Judge the claim that a quantity grows (or falls, if not `positive`)."""
    return Claim(says, source, verdict(found, positive), measured, found, found.shown(digits, sign=True))


def _as_accurate(says: str, source: str, found: Interval, measured: str, more: str = "") -> Claim:
    """Judge the claim that a difference of accuracies is above -`MARGIN` points."""
    judged, measured = verdict(found, threshold=-MARGIN / 100), f"{measured}; held above -{MARGIN}{more}"
    return Claim(says, source, judged, measured, found, found.shown(2, sign=True, factor=100))


def _separation(c: Comparison, terms: Terms) -> Claim:
    says, source = "Similar classes move apart, relative to the size of their clusters", f"{SHEN}, Fig. 1"
    if c.similar is None:
        why = c.base.why_no_points or c.other.why_no_points
        return Claim(says, source, NOT_MEASURED, f"no penultimate activations: {why}")
    return Claim(
        says,
        source,
        verdict(c.similar),
        f"relative change of the separation of the most similar {terms.kinds}, over {terms.kinds_in_full}",
        c.similar,
        f"{c.similar.shown(1, sign=True, factor=100)} %",
    )


def _information(c: Comparison) -> Claim:
    says = "The logits carry less information about which example they belong to"
    source = f"{MULLER}, section 4"
    if c.information is None:
        return Claim(says, source, NOT_MEASURED, "the teachers have no dropout, or too few token types")
    measured = "change of the mutual information between example and logit difference, nats, over examples"
    return _change(says, source, c.information, measured, positive=False, digits=3)


def matched(c: Comparison, students: Sequence[System]) -> list[tuple[System, System]]:
    """Return pairs of students that differ only in the teacher, by ascending temperature.

    If possible, both students have the same seed.
    """
    found = []
    for one in students:
        if one.taught_by != c.base.name:
            continue
        alike = [
            other
            for other in students
            if other.taught_by == c.other.name and (other.temperature, other.setting) == (one.temperature, one.setting)
        ]
        found += [(one, other) for other in [other for other in alike if other.seed == one.seed] or alike]
    return sorted(found, key=lambda pair: (pair[0].temperature is None, pair[0].temperature or 0.0))


def _students(c: Comparison, students: Sequence[System]) -> list[Claim]:
    """Judge the claim about students for each matched pair."""
    says, source = "The student of the smoothed teacher is as good or better", f"{SHEN}, Table 2, Fig. 5 and 7"
    found = []
    for pair in matched(c, students):
        measured = (
            f"change of the students' token accuracy, {pair[1].name} compared with {pair[0].name}, percentage points, "
            "over sentences"
        )
        found.append(_as_accurate(says, source, quality_difference(*pair, "accuracy"), measured))
    needs = "needs a --student of each teacher, with the same method, size and temperature"
    return found or [Claim(says, source, NOT_MEASURED, needs)]


def _diffusion(c: Comparison, diffusions: dict[str, Diffusion]) -> Claim:
    says = "At higher temperatures, students of the smoothed teacher drift towards similar classes"
    source = f"{CHANDRASEGARAN}, section 5"
    found = diffusions.get(c.other.name)
    if found is None:
        needs = "needs two --student of the smoothed teacher with different temperatures"
        return Claim(says, source, NOT_MEASURED, needs)
    measured = "diffusion index of similar minus dissimilar types, over token types"
    return _change(says, source, found.difference, measured, digits=3)
