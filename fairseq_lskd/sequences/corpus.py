"""What is translated: a text file, or a split of binarised data, as lines of text."""

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


class Corpus(Protocol):
    """Sentences, numbered from 0."""

    path: Path
    sentences: int
    digest: str  #: SHA-256 of what is in it, however it is packed

    def read(self, start: int, stop: int) -> Iterator[str]:
        """Sentences `start` to `stop`, without line ends."""

    def check_unchanged(self) -> None:
        """Raise a `UserError` if it is another one now than when it was opened; costs little if no file was written."""


class TextCorpus:
    """A UTF-8 file, one sentence a line, gzipped if it is called `.gz`."""

    def __init__(self, side: Side):
        """`side`: what `examine` found."""
        self.path, self.sentences, self.digest = side.path, side.lines, side.sha256
        self._side = side

    def check_unchanged(self) -> None:
        check_unchanged([self._side])

    def read(self, start: int, stop: int) -> Iterator[str]:
        return itertools.islice(read_lines(self.path), start, stop)


class BinarisedCorpus:
    """The source side of a split that fairseq-preprocess wrote; pieces it did not know are `<unk>`."""

    def __init__(self, folder: Path, subset: str, source_lang: str | None = None):
        """`source_lang`: where a split of several languages is there, or to read the target side."""
        from fairseq.data import data_utils, indexed_dataset

        from ..teachers.task import load_dictionary

        prefix = _find_split(folder, subset, source_lang)
        dictionary = folder / f"dict.{prefix.suffix[1:]}.txt"
        if not dictionary.is_file():
            raise UserError(f"{folder} is no whole binarised data: found {prefix.name}.idx, but no {dictionary.name}")
        self.path = prefix
        self.dictionary = load_dictionary(dictionary)
        check_binarised(prefix, len(self.dictionary))
        # Of the older format, fairseq would take the form that has to be told beforehand what will be read.
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
                "sentences). Let nothing write there, and run this again"
            )
        self._stamps = stamps

    def read(self, start: int, stop: int) -> Iterator[str]:
        eos = self.dictionary.eos()
        for index in range(start, min(stop, self.sentences)):
            yield " ".join(self.dictionary[piece] for piece in self._data[index].tolist() if piece != eos)


def open_corpus(path: Path, subset: str | None = None, source_lang: str | None = None) -> Corpus:
    """The corpus in a file, or in a split of a binarised folder.

    Raises:
        UserError: if there is none, it cannot be read, or it has no sentence.
    """
    if path.is_dir():
        corpus: Corpus = BinarisedCorpus(path, subset or "train", source_lang)
    elif subset is not None:
        raise UserError(f"--subset {subset} is of a binarised folder; {path} is no folder")
    else:
        side = examine(path)
        if side.problems:
            raise UserError("; ".join(side.problems))
        corpus = TextCorpus(side)
    if not corpus.sentences:
        raise UserError(f"{path} has no sentence")
    return corpus


def _find_split(folder: Path, subset: str, source_lang: str | None) -> Path:
    """The path of a split's source side, without `.bin` and `.idx`."""
    found = []
    for index in sorted(folder.glob(f"{subset}.*-*.*.idx")):
        pair, language = index.name.removeprefix(f"{subset}.").removesuffix(".idx").rsplit(".", 1)
        # Without a word, the first language is the source, as in fairseq-preprocess's names.
        if language == (source_lang or pair.split("-")[0]):
            found.append(index.with_suffix(""))
    if not found:
        language = source_lang or "SOURCE"
        raise UserError(
            f"{folder} has no split {subset!r} in {language}: expected {subset}.SOURCE-TARGET.{language}.idx and .bin, "
            "which fairseq-preprocess writes; name another with --subset or --source-lang"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{folder} has more than one split {subset!r} ({names}): choose with --source-lang")
    return found[0]
