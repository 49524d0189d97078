"""Write a small excerpt of prepared data, on which the speed of jobs is measured."""

from __future__ import annotations

import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from ..data.binarise import binarise_file
from ..data.bitext import SPLITS
from ..data.dictionary import read_dictionary
from ..data.vocabulary import MANIFEST, read_encoded
from ..errors import UserError
from ..reading import COUNT

TOKENS = 30_000  #: target tokens of train: about eight batches of 4,096
HELD_OUT = 100  #: pairs of valid, and of test


def train_tokens(data: Path) -> int:
    """Return the number of target tokens of train, including `</s>`.

    Raises:
        UserError: if `data` is not a folder that scripts/prepare.sh wrote.
    """
    record = _record(data)
    count = record["counts"][f"train.{record['options']['target-lang']}"]
    return int(count["pieces"] + count["lines"])


def write_excerpt(data: Path, out: Path, tokens: int = TOKENS) -> int:
    """Write every n-th pair of train, and the first pairs of valid and test, to `out/pieces` and `out/bin`.

    Return the number of target tokens of train, which is about `tokens`.

    Raises:
        UserError: if `data` is not a folder that scripts/prepare.sh wrote.
    """
    options = _record(data)["options"]
    languages = [options["source-lang"], options["target-lang"]]
    step = max(1, train_tokens(data) // tokens)
    shutil.copytree(data / "pieces", out / "pieces", ignore=lambda _, names: [n for n in names if _is_text(n)])
    (out / "bin").mkdir()
    kept = 0
    for language in languages:
        shutil.copyfile(data / "pieces" / f"dict.{language}.txt", out / "bin" / f"dict.{language}.txt")
        ids = read_dictionary(out / "bin" / f"dict.{language}.txt")
        for split in SPLITS:
            path = out / "pieces" / f"{split}.{language}"
            with (data / "pieces" / path.name).open("rb") as text, path.open("wb") as chosen:
                chosen.writelines(islice(text, 0, None, step) if split == "train" else islice(text, HELD_OUT))
            found = binarise_file(path, ids, out / "bin" / f"{split}.{'-'.join(languages)}.{language}")
            kept = found.tokens if split == "train" else kept
    return kept


def _is_text(name: str) -> bool:
    return name.partition(".")[0] in SPLITS


def _record(data: Path) -> dict[str, Any]:
    if not (data / "pieces" / MANIFEST).is_file():
        raise UserError(f"{data}: no prepared data there; expected a folder that scripts/prepare.sh wrote")
    return read_encoded(data / "pieces", counts={str: {"lines": COUNT, "pieces": COUNT}})
