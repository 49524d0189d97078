"""How far the models are from a truth that is known."""

from __future__ import annotations

from collections.abc import Iterator

from .. import truth as known
from ..claims import matched
from ..document import Section
from .findings import Findings


def truth(found: Findings) -> Section:
    """Each model's divergence from it, and what smoothing did to that of teachers and of students."""
    assert found.truth is not None
    models = {}
    for system in (*found.teachers, *found.students):
        units, models[system.name], tokens = system.measurement.by_unit()
    return known.section(models, tokens, found.truth[units], list(_pairs(found)))


def _pairs(found: Findings) -> Iterator[tuple[str, str]]:
    """Names of (not smoothed, smoothed) teachers, and of students that were taught alike."""
    for comparison in found.comparisons:
        if comparison.smoother:
            yield comparison.base.name, comparison.other.name
            yield from ((one.name, other.name) for one, other in matched(comparison, found.students))
