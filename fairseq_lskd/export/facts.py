"""Read the manifest of an exported folder, and compute its entry in a result record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256
from ..reading import POSITIVE, read_json
from ..scoring.metrics import score_corpus
from ..scoring.tokeniser import Chosen
from ..teachers.model_tokens import EXPORT as MANIFEST

_SHAPE = {
    "inputs": {"checkpoint": str},
    "options": {"compute-type": str},
    "max_positions": [POSITIVE],
    "versions": {"ctranslate2": str},
}


def size(folder: Path) -> int:
    """Return the size in bytes of all files that translate, without the manifest."""
    return sum(path.stat().st_size for path in contents(folder))


def contents(folder: Path) -> list[Path]:
    """Return the files of a folder that are needed to translate."""
    names = ("model.bin", "config.json", "*_vocabulary.json", "sentencepiece*.model")
    return sorted(path for name in names for path in folder.glob(name))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the export.json of a folder. Raise a `UserError` if `lskd export` did not write the folder."""
    expected = "the export.json of `lskd export`"
    found: dict[str, Any] = read_json(folder / MANIFEST, _SHAPE, expected)
    if len(found["max_positions"]) != 2:
        raise UserError(f"{folder / MANIFEST}: max_positions: expected 2 numbers; expected {expected}")
    return found


def manifest_of(folder: Path, checkpoint: Path, digest: str | None = None) -> dict[str, Any]:
    """Read the export.json of a folder. Raise a `UserError` if it was exported from another checkpoint.

    `digest` is the checkpoint's SHA-256, if it is known.
    """
    manifest = read_manifest(folder)
    if manifest["inputs"]["checkpoint"] != (digest or sha256(checkpoint)):
        raise UserError(f"{folder} was exported from another checkpoint than {checkpoint}. Export it again")
    return manifest


def exported_facts(
    folder: Path,
    checkpoint: Path,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    metrics: Sequence[str],
    chosen: Chosen | None,
    digest: str | None = None,
) -> dict[str, Any]:
    """Return the scores of a folder's translations, its size in bytes, and the type of its weights.

    The scores are computed like those of the result record (`score_corpus`) and have the same signatures.

    Args:
        references: one or more references of the test set, each with as many lines as there are hypotheses.
        digest: the checkpoint's SHA-256, if it is known.

    Raises:
        UserError: if the folder was exported from another checkpoint, or the numbers of lines differ.
    """
    manifest = manifest_of(folder, checkpoint, digest)
    scores = score_corpus(hypotheses, *references, metrics=metrics, chosen=chosen)
    return {
        **{name: scores[name] for name in metrics},
        "bytes": size(folder),
        "compute_type": manifest["options"]["compute-type"],
        "ctranslate2": manifest["versions"]["ctranslate2"],
    }
