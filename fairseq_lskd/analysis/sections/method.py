"""The last section: models, data and definitions."""

from __future__ import annotations

from ..bootstrap import DRAWS
from ..document import Section, Table
from .findings import Findings


def method(found: Findings) -> Section:
    """Return the section on models, data and definitions."""
    names = list(dict.fromkeys(name for system in (*found.teachers, *found.students) for name in system.extra))
    models = [
        (kind, system.name, system.smoothing, *(system.extra.get(name) for name in names))
        for kind, systems in (("teacher", found.teachers), ("student", found.students))
        for system in systems
    ]
    terms = found.terms
    words = [
        f"{terms.setting} The tables in tables/ (CSV) and numbers.json have every number behind the plots.",
        f"Intervals are 95 % percentile bootstrap intervals of {DRAWS:,} resamples. Means over {terms.kinds} "
        f"(stability, peaks, relations, separations{', diffusion' * terms.taught}) are resampled over "
        f"{terms.kinds_in_full}, means over {terms.tokens} (likelihood, accuracy, calibration) over {terms.units}. "
        "Differences are paired. A claim is held if its whole interval is on the claimed side, not held if it is on "
        "the other side, and otherwise undecided; it is not measured if an input is missing.",
        f"Definitions. Stability: S = 1 - (1/K) sum_c (1/n_c) sum_i |p_i - mean_c|^2. Separation of two {terms.kinds}: "
        "|m_a - m_b| / (s_a + s_b), where m is the centre of a cluster and s the root mean square distance from it. "
        "Expected calibration error: ECE = sum_b (n_b / n) |accuracy_b - confidence_b|.",
    ]
    if terms.taught:
        words.append(
            "Mutual information: the mean of log [N p(y | x) / sum_x' p(y | x')], where p(y | x) is a Gaussian around "
            "the mean of each occurrence, with one variance for all."
        )
    facts = Table("call", "Data and options.", ("", "value"), list(found.facts.items()))
    columns = ("role", "name", "label smoothing", *names)
    return Section("How it was measured", words, [Table("models", "Models.", columns, models), facts])
