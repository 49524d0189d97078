"""Teachers: online models and caches, and the checks that a teacher fits its student."""

from .cache import CachedTeacher
from .online import OnlineTeacher

__all__ = ["CachedTeacher", "OnlineTeacher"]
