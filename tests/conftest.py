"""Fixtures: a tiny translation task and checkpoints of teachers, made with fairseq."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# Tests do not measure time: on a busy machine any example may be slow.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


def pytest_configure(config: pytest.Config) -> None:
    # fairseq 0.12 causes hundreds of deprecation warnings of Hydra and torch.
    for warning in ("UserWarning:hydra", "UserWarning:torch.nn.functional", "DeprecationWarning:torch.jit"):
        config.addinivalue_line("filterwarnings", f"ignore::{warning}")
    # In the background of a script, Python ignores Ctrl-C, and so would the commands that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("filterwarnings", r"ignore:\s*'config' is validated against ConfigStore:UserWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that processes (pytest-xdist) end with short ones."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Start every test from the same random state."""
    torch.manual_seed(1)
    yield


@pytest.fixture(scope="session")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of binarised data, de to en: 14 and 15 types, 60 training and 9 validation sentences."""
    from tiny import binarise

    return binarise(tmp_path_factory.mktemp("bitext"))


@pytest.fixture(scope="session")
def teacher_path(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an untrained teacher of another size than the student."""
    from tiny import WIDER, save

    return save(tmp_path_factory.mktemp("teacher") / "checkpoint_best.pt", bitext, *WIDER, seed=11)


@pytest.fixture(scope="session")
def other_teacher_path(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of another untrained teacher, for ensembles."""
    from tiny import save

    return save(tmp_path_factory.mktemp("other_teacher") / "checkpoint_best.pt", bitext, seed=12)


@pytest.fixture
def task(bitext: Path) -> Any:
    """The student's task, with its data."""
    from tiny import make_task

    return make_task(bitext)
