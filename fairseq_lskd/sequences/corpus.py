"""Corpora to translate: a text file, or a split of binarised data, read as lines."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..data.binarised import check_binarised
from ..data.bitext import Side, check_unchanged, examine
from ..errors import UserError
from ..files import sha256, stamp
from ..lines import read_lines
from ..reading import shown


class Corpus(Protocol):
    """Sentences, numbered from 0."""

    path: Path
    sentences: int
    digest: str  #: SHA-256 of the content, without regard to compression

    def read(self, start: int, stop: int) -> Iterator[str]:
        """Yield sentences `start` to `stop` (excluded), without line ends."""

    def check_unchanged(self) -> None:
        """Raise a `UserError` if the content changed since the corpus was opened. Cheap if no file was written."""


class TextCorpus:
    """A UTF-8 file with one sentence per line, gzipped if its name ends in `.gz`."""

    def __init__(self, side: Side):
        """`side`: the result of `examine`."""
        self.path, self.sentences, self.digest = side.path, side.lines, side.sha256
        self._side = side

    def check_unchanged(self) -> None:
        check_unchanged([self._side])

    def read(self, start: int, stop: int) -> Iterator[str]:
        return itertools.islice(read_lines(self.path), start, stop)


class BinarisedCorpus:
    """One side of a split that fairseq-preprocess wrote. Pieces that its dictionary lacked are `<unk>`."""

    def __init__(self, folder: Path, subset: str, source_lang: str | None = None):
        """`source_lang`: the side to read; by default the first language of the split's name."""
        from fairseq.data import data_utils, indexed_dataset

        from ..teachers.task import load_dictionary

        prefix = _find_split(folder, subset, source_lang)
        dictionary = folder / f"dict.{prefix.suffix[1:]}.txt"
        if not dictionary.is_file():
            raise UserError(f"{folder}: found {prefix.name}.idx, but no {dictionary.name}. Binarise it again")
        self.path = prefix
        self.dictionary = load_dictionary(dictionary)
        check_binarised(prefix, len(self.dictionary))
        # For the older format, fairseq's default class needs to know in advance which examples are read.
        older = indexed_dataset.infer_dataset_impl(str(prefix)) == "cached"
        self._data = data_utils.load_indexed_dataset(str(prefix), self.dictionary, "lazy" if older else None)
        self.sentences = len(self._data)
        self._files = (prefix.with_name(f"{prefix.name}.bin"), prefix.with_name(f"{prefix.name}.idx"), dictionary)
        self._stamps = [stamp(file) for file in self._files]
        self.digest = self._digest()

    def _digest(self) -> str:
        return hashlib.sha256(" ".join(map(sha256, self._files)).encode()).hexdigest()

    def check_unchanged(self) -> None:
        stamps = [stamp(file) for file in self._files]
        if stamps == self._stamps:
            return
        if not all(stamps) or self._digest() != self.digest:
            changed = [
                file.name for file, new, old in zip(self._files, stamps, self._stamps, strict=True) if new != old
            ]
            raise UserError(
                f"{self.path.parent} changed while it was read ({', '.join(changed)}; it had {self.sentences:,} "
                "sentences). Make sure that no other process writes to it, and run the command again"
            )
        self._stamps = stamps

    def read(self, start: int, stop: int) -> Iterator[str]:
        eos = self.dictionary.eos()
        for index in range(start, min(stop, self.sentences)):
            yield " ".join(self.dictionary[piece] for piece in self._data[index].tolist() if piece != eos)


def open_corpus(path: Path, subset: str | None = None, source_lang: str | None = None) -> Corpus:
    """Open a text file, or a split of a folder of binarised data (`subset`, by default "train").

    Raises:
        UserError: if it does not exist, cannot be read, or has no sentence.
    """
    if path.is_dir():
        corpus: Corpus = BinarisedCorpus(path, subset or "train", source_lang)
    elif subset is not None:
        raise UserError(f"--subset {subset} needs a folder of binarised data, and {path} is a file")
    else:
        side = examine(path)
        if side.problems:
            raise UserError("; ".join(side.problems))
        corpus = TextCorpus(side)
    if not corpus.sentences:
        raise UserError(f"{path}: found no sentence, expected one or more")
    return corpus


def splits(folder: Path) -> list[str]:
    """Return the binarised splits of a folder, such as `train.de-en`."""
    return sorted({path.name.removesuffix(".idx").rpartition(".")[0] for path in folder.glob("*.*-*.*.idx")})


def binarised_below(folder: Path) -> Path | None:
    """Return the folder of binarised data in one that has none itself, where scripts/prepare.sh puts it."""
    below = folder / "bin"
    return below if splits(below) and not splits(folder) else None


def _find_split(folder: Path, subset: str, source_lang: str | None) -> Path:
    """Return the path of one side of a split, without `.bin` and `.idx`."""
    found = []
    for index in sorted(folder.glob(f"{subset}.*-*.*.idx")):
        pair, language = index.name.removeprefix(f"{subset}.").removesuffix(".idx").rsplit(".", 1)
        # fairseq-preprocess names a split SOURCE-TARGET.
        if language == (source_lang or pair.split("-")[0]):
            found.append(index.with_suffix(""))
    if not found:
        if below := binarised_below(folder):
            raise UserError(f"{folder} has no binarised data, but {below} has. Name {below}")
        language = source_lang or "SOURCE"
        there = shown(", ".join(splits(folder))) if splits(folder) else "no split"
        raise UserError(
            f"{folder} has no split {subset!r} in {language}: expected {subset}.SOURCE-TARGET.{language}.idx and .bin, "
            f"of fairseq-preprocess; found {there}. Choose another with --subset or --source-lang"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} has more than one split {subset!r} ({names}). Choose one with --source-lang")
    return found[0]
