"""The sections of the report, one module each."""

from collections.abc import Iterator, Sequence

from .. import smoothed_loss
from ..document import Section
from .answer import answer
from .calibration import calibration
from .classes import classes
from .findings import Findings
from .method import method
from .projection import projection
from .stability import stability
from .students import students
from .truth import truth

__all__ = ["Findings", "sections_of"]


def sections_of(found: Findings, more: Sequence[Section] = ()) -> Iterator[Section]:
    """Yield all sections about the models, in the order of the report. `more` comes before the method."""
    yield answer(found)
    yield stability(found)
    yield classes(found)
    yield projection(found)
    yield calibration(found)
    if found.students:
        yield students(found)
    if found.truth is not None:
        yield truth(found)
    yield from more
    if found.smoothings:
        yield smoothed_loss.section(found.smoothings, len(found.symbols))
    yield method(found)
