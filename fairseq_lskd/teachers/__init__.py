"""Where a teacher's distribution comes from."""

from .cache import CachedTeacher
from .online import OnlineTeacher

__all__ = ["CachedTeacher", "OnlineTeacher"]
