"""The section on calibration, and on the mutual information of examples and logits."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from ...losses.calibration import confidence_gaps
from ..bootstrap import interval
from ..document import Picture, Section, Table
from ..information import mutual_information, mutual_information_draws
from ..style import GREY, figure, line, styled
from .findings import Findings


def calibration(found: Findings) -> Section:
    """Return the section on reliability, entropy, likelihood and mutual information."""
    terms = found.terms
    words = [
        "A calibrated teacher is right in 70 % of the predictions that it makes with a confidence of 0.7. The bins "
        f"have nearly equal numbers of {terms.tokens}."
    ]
    for c in found.comparisons:
        words.append(
            f"Changes of {c.other.name} compared with {c.base.name}: calibration error {c.ece.shown(4, sign=True)}, "
            f"entropy {c.entropy.shown(3, sign=True)} nats, negative log-likelihood {c.nll.shown(3, sign=True)} nats "
            f"{terms.each}, accuracy {c.accuracy.shown(2, sign=True, factor=100)} points (paired intervals over "
            f"{terms.units})."
        )
    tables = [_quality(found), _bins(found)]
    if found.triple and any(teacher.looks is not None for teacher in found.teachers):
        one, two = (found.name(kind) for kind in found.triple[:2])
        words.append(
            f"Mutual information (Müller et al.) is the information that the difference of the logits of {one} and "
            f"{two}, under the dropout of training, carries about which of their occurrences it belongs to. It lies "
            "between 0 and the logarithm of the number of occurrences. It is lower if smoothing erased information."
        )
        tables.append(_information(found))
    caption = (
        "Accuracy by confidence, in bins of nearly equal size. Below the dotted line the teacher is overconfident."
    )
    return Section("Calibration", words, tables, [Picture("reliability", caption, _draw(found), "reliability")])


def _quality(found: Findings) -> Table:
    rows = []
    for teacher in found.teachers:
        measured = teacher.quality
        ece = interval(measured.values["ece"], measured.replicates["ece"])
        values = measured.values
        tokens = teacher.measurement.tokens
        equal_width = confidence_gaps(tokens.confidence, tokens.correct).abs().sum().item() / len(tokens)
        row: list[Any] = [teacher.name, len(tokens), values["nll"], math.exp(values["nll"])]
        row += [values["accuracy"], values["confidence"], values["entropy"], ece.value, ece.low, ece.high, equal_width]
        rows.append(row)
    columns = ("teacher", found.terms.tokens, "NLL (nats)", "perplexity", "accuracy", "confidence", "entropy (nats)")
    more = ("ECE, adaptive bins", "low", "high", "ECE, 15 equal widths")
    return Table(
        "calibration", f"Predictions on {found.split}: means over {found.terms.tokens}.", (*columns, *more), rows
    )


def _bins(found: Findings) -> Table:
    rows = [
        (teacher.name, i, *row)
        for teacher in found.teachers
        for i, row in enumerate(
            zip(
                *(getattr(teacher.reliability, name).tolist() for name in ("count", "confidence", "accuracy")),
                strict=True,
            ),
            start=1,
        )
    ]
    columns = ("teacher", "bin", found.terms.tokens, "confidence", "accuracy")
    return Table("reliability", "Bins of the reliability diagram.", columns, rows)


def _information(found: Findings) -> Table:
    rows = []
    for teacher in found.teachers:
        if teacher.looks is not None:
            value = mutual_information(teacher.looks)
            half = interval(value, mutual_information_draws(teacher.looks))
            size, draws = teacher.looks.shape
            rows.append((teacher.name, size, draws, value, math.log(size), half.low, half.high))
    ends = ("halves, low", "halves, high")
    columns = ("teacher", "occurrences", "draws of dropout", "information (nats)", "maximum", *ends)
    caption = (
        "Mutual information, and its 95 % interval over random halves of the occurrences. The maximum of a half is "
        "lower by log 2."
    )
    return Table("information", caption, columns, rows)


@styled
def _draw(found: Findings) -> Figure:
    drawn = figure(7, 3.2)
    left, right = drawn.subplots(1, 2, squeeze=False)[0]
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    right.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    for i, teacher in enumerate(found.teachers):
        bins = teacher.reliability
        sure, right_share = bins.confidence.tolist(), bins.accuracy.tolist()
        left.plot(sure, right_share, markersize=4, linewidth=1.2, label=teacher.name, **line(i))
        gaps = [b - a for a, b in zip(sure, right_share, strict=True)]
        right.plot(sure, gaps, markersize=4, linewidth=1.2, **line(i))
    left.set_xlabel("confidence")
    left.set_ylabel("accuracy")
    left.set_aspect("equal")
    left.legend()
    right.set_xlabel("confidence")
    right.set_ylabel("accuracy - confidence")
    return drawn
