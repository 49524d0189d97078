"""Read the vocabulary and the special tokens of a CTranslate2 model folder. CTranslate2 is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reading import read_json, read_text

#: CTranslate2's name for fairseq's <pad>.
PADDING = "<blank>"
#: The weights.
WEIGHTS = "model.bin"


def model_symbols(folder: Path, kind: str = "target") -> list[str]:
    """Read the vocabulary of one side ("target", "source") of a model folder."""
    path = _vocabulary(folder, kind)
    if path is None:
        raise UserError(
            f"--model {folder} is not a CTranslate2 model folder of a sequence-to-sequence model: found no "
            f"{kind}_vocabulary.json or shared_vocabulary.json, which CTranslate2's converters write"
        )
    if path.suffix == ".json":
        return read_json(path, [str], "the vocabulary of a CTranslate2 model, a list of strings")
    return read_text(path).removesuffix("\n").split("\n")  # older converters end every line, also the last


def read_config(folder: Path) -> dict[str, Any]:
    """Read a model's config.json, which describes its special tokens. Old models have none, and yield {}."""
    path = folder / "config.json"
    word = (str, type(None))
    shape = {"bos_token?": word, "eos_token?": word, "unk_token?": word, "add_source_eos?": bool}
    shape["decoder_start_token?"] = word
    return read_json(path, shape, "the config.json of a CTranslate2 model") if path.is_file() else {}


def model_files(folder: Path) -> list[Path]:
    """Return the files that decide what a model computes: weights, special tokens and vocabularies."""
    vocabularies = {path for kind in ("source", "target") if (path := _vocabulary(folder, kind)) is not None}
    return [path for path in (folder / WEIGHTS, folder / "config.json") if path.is_file()] + sorted(vocabularies)


def _vocabulary(folder: Path, kind: str) -> Path | None:
    names = (f"{side}_vocabulary.{suffix}" for side in (kind, "shared") for suffix in ("json", "txt"))
    return next((folder / name for name in names if (folder / name).is_file()), None)
