"""The sections of the report, a module each: words, tables and pictures of what was measured."""

from .answer import answer
from .calibration import calibration
from .classes import classes
from .findings import Findings
from .method import method
from .projection import projection
from .stability import stability
from .students import students

__all__ = ["Findings", "answer", "calibration", "classes", "method", "projection", "stability", "students"]
