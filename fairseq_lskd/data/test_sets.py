"""Add test sets to prepared data: text of another domain, in the same pieces, binarised for fairseq."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import sha256
from ..names import plain
from .binarise import binarise_file
from .bitext import check_bitext, check_unchanged
from .chunks import Chunk
from .dictionary import read_dictionary
from .outputs import Manifest
from .passes import encode_splits, files_of
from .segment import Pieces, SentencePieces
from .sentencepiece_model import load_model
from .shifting import check_steps
from .vocabulary import MANIFEST as ENCODED
from .vocabulary import model_name, read_encoded

MANIFEST = "test.json"


def folder_of(data: Path, name: str) -> Path:
    """Return the folder of a test set: `raw/` holds its text, the folder itself the data for fairseq-generate."""
    return data / "tests" / plain(name, "test set")


def languages_of(data: Path) -> tuple[str, str]:
    """Return the source and target language of a folder that scripts/prepare.sh wrote."""
    options = _options(data)
    return options["source-lang"], options["target-lang"]


def add(data: Path, name: str, text: Path, workers: int = 1, allow_shifted: bool = False) -> bool:
    """Add the bitext `NAME.SRC`, `NAME.TGT` in the folder `text`, plain or gzipped, as the test set `DATA/tests/NAME`.

    Languages, pieces and dictionaries are those of `data`, a folder that scripts/prepare.sh wrote. Return False if the
    test set is up to date. With `allow_shifted`, sides that are out of step give a warning.

    Raises:
        UserError: if `data` is not prepared, or was encoded with Moses and BPE, or for a problem with the text.
    """
    out, pieces = folder_of(data, name), data / "pieces"
    options, languages = _options(data), languages_of(data)
    if options.get("recipe"):
        raise UserError(f"{data} was encoded with --recipe {options['recipe']}: adding test sets needs SentencePiece")
    bitext = check_bitext(text, languages, (name,))
    inputs = {f"{name}.{language}": side.sha256 for language, side in bitext[name].items()}
    manifest = Manifest(MANIFEST, {}, inputs | {ENCODED: sha256(pieces / ENCODED)}, libraries=("sentencepiece",))
    if manifest.is_up_to_date(out):
        return False
    check_steps(bitext, allow_shifted)
    with manifest.written(out) as (folder, facts):
        (folder / "raw").mkdir()
        for language in languages:
            shutil.copyfile(pieces / f"dict.{language}.txt", folder / f"dict.{language}.txt")
            side = bitext[name][language]
            shutil.copyfile(side.path, folder / "raw" / f"test.{language}{'.gz' * (side.path.suffix == '.gz')}")
        segmenters = {language: _segmenter(pieces, language, bool(options.get("separate"))) for language in languages}
        encode_splits(segmenters, bitext, folder, workers)
        check_unchanged(files_of(bitext).values())
        facts["counts"] = {}
        for language in languages:
            ids, encoded = read_dictionary(folder / f"dict.{language}.txt"), folder / f"{name}.{language}"
            found = binarise_file(encoded, ids, folder / f"test.{'-'.join(languages)}.{language}", workers)
            facts["counts"][f"{name}.{language}"] = vars(found)
            encoded.unlink()
    return True


def _options(data: Path) -> dict[str, Any]:
    record = data / "pieces" / ENCODED
    if not record.is_file():
        raise UserError(f"{data}: no prepared data there; expected a folder that scripts/prepare.sh wrote")
    options: dict[str, Any] = read_encoded(record.parent)["options"]
    return options


def _segmenter(pieces: Path, language: str, separate: bool) -> Callable[[Chunk], Pieces]:
    path = pieces / (model_name(language) if separate else model_name())
    return SentencePieces(load_model(path).serialized_model_proto())
