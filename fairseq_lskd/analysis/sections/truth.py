"""The section on the divergence of models from a known truth."""

from __future__ import annotations

from collections.abc import Iterator

from .. import truth as known
from ..claims import matched
from ..document import Section
from .findings import Findings


def truth(found: Findings) -> Section:
    """Return the section on the divergence of teachers and students from the truth, and its change by smoothing."""
    assert found.truth is not None
    models = {}
    for system in (*found.teachers, *found.students):
        units, models[system.name], tokens = system.measurement.by_unit()
    return known.section(models, tokens, found.truth[units], list(_pairs(found)))


def _pairs(found: Findings) -> Iterator[tuple[str, str]]:
    """Yield the names of (not smoothed, smoothed) teachers, and of their matched students."""
    for comparison in found.comparisons:
        if comparison.smoother:
            yield comparison.base.name, comparison.other.name
            yield from ((one.name, other.name) for one, other in matched(comparison, found.students))
