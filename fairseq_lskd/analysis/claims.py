"""The papers' claims about label smoothing, each judged by an interval: held, not held, or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .bootstrap import Interval
from .compare import Comparison, quality_difference
from .diffusion import Diffusion
from .intervals import UNDECIDED, verdict
from .system import System
from .terms import TRANSLATION, Terms

#: "The same or better" is held if what is lost is below this, in percentage points of accuracy.
MARGIN = 0.5
#: "The relations stay" is held if the mean rank correlation is above this.
ALIKE = 0.5
SHEN = "Shen et al. 2021"
MULLER = "Müller et al. 2019"
CHANDRASEGARAN = "Chandrasegaran et al. 2022"


@dataclass(frozen=True)
class Claim:
    """A statement of a paper, and what this data says of it."""

    says: str
    source: str
    verdict: str
    measured: str  #: what the interval is of, or why there is none
    found: Interval | None = None
    shown: str = ""  #: the interval with its unit


def claims(
    comparison: Comparison,
    students: Sequence[System] = (),
    diffusions: dict[str, Diffusion] | None = None,
    terms: Terms = TRANSLATION,
) -> list[Claim]:
    """All claims about `comparison.other`, the smoother teacher, beside `comparison.base`.

    Args:
        students: of either teacher; diffusions: by the teacher's name.
        terms: where nobody is taught, what students and dropout would say is left out.
    """
    c = comparison
    found = [
        Claim(
            "Smoothing erases information: predictions within a class vary less",
            f"{SHEN}, Table 1",
            verdict(c.variance, positive=False),
            f"change of 1 - S, over {terms.kinds_in_full}",
            c.variance,
            c.variance.shown(4, sign=True),
        ),
        Claim(
            "The peak of a class's mean distribution drops",
            f"{SHEN}, Fig. 4",
            verdict(c.peak, positive=False),
            f"change of the mean probability of a {terms.kind} at its own examples, over {terms.kinds_in_full}",
            c.peak,
            c.peak.shown(4, sign=True),
        ),
        Claim(
            "The relations between classes stay",
            f"{SHEN}, Fig. 4",
            verdict(c.rank_correlation, threshold=ALIKE),
            f"rank correlation of the off-diagonals, the mean over {terms.kinds_in_full}; held above {ALIKE}",
            c.rank_correlation,
            c.rank_correlation.shown(3),
        ),
        _separation(c, terms),
        Claim(
            "The smoothed teacher has the worse perplexity",
            f"{SHEN}, Fig. 7",
            verdict(c.nll),
            f"change of the negative log-likelihood, nats {terms.each}, over {terms.units}",
            c.nll,
            c.nll.shown(4, sign=True),
        ),
        Claim(
            "The smoothed teacher predicts as well or better",
            f"{SHEN}, Table 1, Fig. 7",
            verdict(c.accuracy, threshold=-MARGIN / 100),
            f"change of the {terms.accuracy}, percentage points, over {terms.units}; held above -{MARGIN}"
            f"{terms.more_quality}",
            c.accuracy,
            c.accuracy.shown(2, sign=True, factor=100),
        ),
        Claim(
            "The smoothed teacher is better calibrated",
            f"{MULLER}, section 3",
            verdict(c.ece, positive=False),
            f"change of the calibration error, over {terms.units}",
            c.ece,
            c.ece.shown(4, sign=True),
        ),
    ]
    if terms.taught:
        found += [_information(c), _students(c, students), _diffusion(c, diffusions or {})]
    return found


def _separation(c: Comparison, terms: Terms) -> Claim:
    says, source = "Similar classes move apart, for the size of their clusters", f"{SHEN}, Fig. 1"
    if c.similar is None:
        why = c.base.why_no_points or c.other.why_no_points
        return Claim(says, source, UNDECIDED, f"no penultimate activations: {why}")
    return Claim(
        says,
        source,
        verdict(c.similar),
        f"relative change of the separation from the most similar {terms.kind}, over {terms.kinds_in_full}",
        c.similar,
        f"{c.similar.shown(1, sign=True, factor=100)} %",
    )


def _information(c: Comparison) -> Claim:
    says = "The logits say less about which example they are of"
    source = f"{MULLER}, section 4"
    if c.information is None:
        return Claim(says, source, UNDECIDED, "no dropout in the teachers, or no three token types to look at")
    return Claim(
        says,
        source,
        verdict(c.information, positive=False),
        "change of the mutual information of example and logit difference, nats, over examples",
        c.information,
        c.information.shown(3, sign=True),
    )


def matched(c: Comparison, students: Sequence[System]) -> tuple[System, System] | None:
    """A student of either teacher at the same temperature, the lowest that both have."""
    by = {
        name: {student.temperature: student for student in students if student.taught_by == name}
        for name in (c.base.name, c.other.name)
    }
    both = [t for t in by[c.base.name] if t in by[c.other.name]]
    if not both:
        return None
    lowest = min(both, key=lambda t: (t is None, t or 0.0))
    return by[c.base.name][lowest], by[c.other.name][lowest]


def _students(c: Comparison, students: Sequence[System]) -> Claim:
    says, source = "The smoothed teacher's student is as good or better", f"{SHEN}, Table 2, Fig. 5 and 7"
    pair = matched(c, students)
    if pair is None:
        return Claim(says, source, UNDECIDED, "needs a --student of either teacher at the same temperature")
    change = quality_difference(*pair, "accuracy")
    return Claim(
        says,
        source,
        verdict(change, threshold=-MARGIN / 100),
        f"change of the students' token accuracy, percentage points, over sentences; held above -{MARGIN}",
        change,
        change.shown(2, sign=True, factor=100),
    )


def _diffusion(c: Comparison, diffusions: dict[str, Diffusion]) -> Claim:
    says = "At a higher temperature its students drift towards similar classes"
    source = f"{CHANDRASEGARAN}, section 5"
    found = diffusions.get(c.other.name)
    if found is None:
        return Claim(says, source, UNDECIDED, "needs two --student of the smoothed teacher at different temperatures")
    return Claim(
        says,
        source,
        verdict(found.difference),
        "diffusion index of similar less that of dissimilar types, over token types",
        found.difference,
        found.difference.shown(3, sign=True),
    )
