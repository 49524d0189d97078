"""Fixtures of the tests of criterions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fairseq_lskd.teachers import OnlineTeacher


@pytest.fixture(scope="module")
def teachers_loaded_once() -> Iterator[None]:
    """Load each teacher once, for tests that do not change their teachers, because loading is slow."""
    load, loaded = OnlineTeacher.from_checkpoints, {}

    def from_checkpoints(paths: str, *args: Any, dtype: Any = None) -> OnlineTeacher:
        if (paths, dtype) not in loaded:
            loaded[paths, dtype] = load(paths, *args, dtype=dtype)
        return loaded[paths, dtype]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OnlineTeacher, "from_checkpoints", from_checkpoints)
        yield
