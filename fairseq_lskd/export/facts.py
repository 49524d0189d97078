"""What an exported folder has in it, and what a result record says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256
from ..reading import POSITIVE, read_json
from ..scoring.metrics import score_corpus
from ..scoring.tokeniser import Chosen

MANIFEST = "export.json"
_SHAPE = {
    "inputs": {"checkpoint": str},
    "options": {"compute-type": str},
    "max_positions": [POSITIVE],
    "versions": {"ctranslate2": str},
}


def size(folder: Path) -> int:
    """Bytes of what translates: all but the records."""
    return sum(path.stat().st_size for path in contents(folder))


def contents(folder: Path) -> list[Path]:
    """The files in a folder that translate."""
    names = ("model.bin", "config.json", "*_vocabulary.json", "sentencepiece*.model")
    return sorted(path for name in names for path in folder.glob(name))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The export.json of a folder; `UserError` if it is no folder of `lskd export`."""
    expected = "the record of a folder that `lskd export` wrote"
    found: dict[str, Any] = read_json(folder / MANIFEST, _SHAPE, expected)
    if len(found["max_positions"]) != 2:
        raise UserError(f"{folder / MANIFEST}: max_positions: expected 2 numbers; expected {expected}")
    return found


def manifest_of(folder: Path, checkpoint: Path) -> dict[str, Any]:
    """The export.json of a folder; `UserError` if it is none of this checkpoint."""
    manifest = read_manifest(folder)
    if manifest["inputs"]["checkpoint"] != sha256(checkpoint):
        raise UserError(f"{folder} was exported from another checkpoint than {checkpoint}: export that one again")
    return manifest


def exported_facts(
    folder: Path,
    checkpoint: Path,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str],
    chosen: Chosen | None,
) -> dict[str, Any]:
    """Scores of what the folder translated, its size in bytes, and what its weights are stored as.

    The scores are made as the record's own (`score_corpus`), and have its signatures.

    Args:
        references: one or more of the test set, each of as many lines as there are hypotheses.

    Raises:
        UserError: if the folder is of another checkpoint, or the numbers of lines differ.
    """
    manifest = manifest_of(folder, checkpoint)
    scores = score_corpus(hypotheses, *references, metrics=metrics, chosen=chosen)
    return {
        **{name: scores[name] for name in metrics},
        "bytes": size(folder),
        "compute_type": manifest["options"]["compute-type"],
        "ctranslate2": manifest["versions"]["ctranslate2"],
    }
