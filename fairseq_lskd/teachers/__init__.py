"""Where a teacher's distribution comes from."""

from .online import OnlineTeacher

__all__ = ["OnlineTeacher"]
