"""Fixtures: a trained student of a tiny bitext, and folders exported from it.

This folder is not called export because benchmarks/export.py is imported by that name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fairseq_lskd.cli import main


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from prepared import prepare

    return prepare(tmp_path_factory.mktemp("exporting"))


@pytest.fixture(scope="session")
def checkpoint(data: Path) -> Path:
    from trained import trained_teacher

    return trained_teacher(data / "bin")


@pytest.fixture(scope="session")
def folders(data: Path, checkpoint: Path) -> dict[str, Path]:
    """Exported folders by the type of their weights."""
    made = {kind: data / f"exported-{kind}" for kind in ("float32", "int8")}
    for kind, folder in made.items():
        assert main(["export", str(checkpoint), "--out", str(folder), "--compute-type", kind]) == 0
    return made
