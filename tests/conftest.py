"""A tiny translation task, models for it, and a teacher's checkpoint, as fairseq itself makes them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    # fairseq 0.12 asks Hydra and torch for what they now call deprecated, hundreds of times.
    for warning in ("UserWarning:hydra", "UserWarning:torch.nn.functional", "DeprecationWarning:torch.jit"):
        config.addinivalue_line("filterwarnings", f"ignore::{warning}")
    # Started in the background of a script, Python ignores Ctrl-C, and so would the commands that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("filterwarnings", r"ignore:\s*'config' is validated against ConfigStore:UserWarning")


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    """Every test starts from the same random state, whatever ran before it."""
    torch.manual_seed(1)
    yield


@pytest.fixture(scope="session")
def bitext(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A binarised folder, de to en: 14 and 15 types, 60 sentences to train on and 9 to validate."""
    from tiny import binarise

    return binarise(tmp_path_factory.mktemp("bitext"))


@pytest.fixture(scope="session")
def teacher_path(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an untrained teacher that is of another size than the student."""
    from tiny import WIDER, save

    return save(tmp_path_factory.mktemp("teacher") / "checkpoint_best.pt", bitext, *WIDER, seed=11)


@pytest.fixture(scope="session")
def other_teacher_path(bitext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of another one, for ensembles."""
    from tiny import save

    return save(tmp_path_factory.mktemp("other_teacher") / "checkpoint_best.pt", bitext, seed=12)


@pytest.fixture
def task(bitext: Path) -> Any:
    """The student's task, with its data."""
    from tiny import make_task

    return make_task(bitext)
