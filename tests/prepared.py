"""A tiny bitext as scripts/prepare.sh prepares one: raw text, SentencePiece pieces, binarised."""

from __future__ import annotations

import random
from pathlib import Path

from fairseq import options
from fairseq_cli import preprocess

from fairseq_lskd.data.encoding import encode_bitext
from fairseq_lskd.data.vocabulary import VocabularyOptions


def prepare(folder: Path) -> Path:
    """Write raw/, pieces/ and bin/, de to en: letters, and the same backwards, in capitals, with a full stop."""
    chance = random.Random(1)
    (folder / "raw").mkdir()
    known: set[str] = set()
    for split, count in (("train", 60), ("valid", 9), ("test", 20)):
        rows: list[list[str]] = []
        while len(rows) < count:
            row = chance.choices("abcdefghij", weights=range(1, 11), k=chance.randint(1, 9))
            if split == "train" or " ".join(row) not in known:  # what is tested was not trained on
                rows.append(row)
        known.update(map(" ".join, rows))
        (folder / f"raw/{split}.de").write_text("".join(f"{' '.join(row)}\n" for row in rows))
        (folder / f"raw/{split}.en").write_text("".join(f"{' '.join(row[::-1]).upper()}.\n" for row in rows))
    encode_bitext(folder / "raw", folder / "pieces", "de", "en", VocabularyOptions(vocab_size=40))
    words = ["-s", "de", "-t", "en", "--destdir", f"{folder}/bin", "--workers", "1"]
    words += ["--trainpref", f"{folder}/pieces/train", "--validpref", f"{folder}/pieces/valid"]
    words += ["--srcdict", f"{folder}/pieces/dict.de.txt", "--tgtdict", f"{folder}/pieces/dict.en.txt"]
    preprocess.main(options.get_preprocessing_parser().parse_args(words))
    return folder
