"""What was measured, on what, and how."""

from __future__ import annotations

from ..bootstrap import DRAWS
from ..document import Section, Table
from .findings import Findings


def method(found: Findings) -> Section:
    """Models, data and definitions."""
    names = list(dict.fromkeys(name for system in (*found.teachers, *found.students) for name in system.extra))
    models = [
        (kind, system.name, system.smoothing, *(system.extra.get(name) for name in names))
        for kind, systems in (("teacher", found.teachers), ("student", found.students))
        for system in systems
    ]
    terms = found.terms
    words = [
        f"{terms.setting} Every number behind a picture is in tables/ as CSV and in numbers.json.",
        f"Intervals are percentile bootstrap intervals, 95 %, of {DRAWS:,} resamples: of {terms.kinds_in_full} for "
        f"what is a mean over {terms.kinds} (stability, peaks, relations, separations"
        f"{', diffusion' * terms.taught}), of {terms.units} for what is a mean over {terms.tokens} (likelihood, "
        "accuracy, calibration). Differences are paired. A claim is held if all of its interval is on the claimed "
        "side, not held if all of it is on the other.",
        f"S = 1 - (1/K) sum_c (1/n_c) sum_i |p_i - mean_c|^2. Separation of two {terms.kinds}: |m_a - m_b| / (s_a + "
        "s_b), where m are the centres and s the root mean square distances from them. ECE: sum_b (n_b / n) "
        "|accuracy_b - confidence_b|.",
    ]
    if terms.taught:
        words.append(
            "Mutual information: mean of log N p(y | x) / sum_x' p(y | x'), with Gaussians around each occurrence's "
            "mean and one variance."
        )
    facts = Table("call", "The data and the call.", ("", "value"), list(found.facts.items()))
    columns = ("role", "name", "label smoothing", *names)
    return Section("How it was measured", words, [Table("models", "The models.", columns, models), facts])
