"""Build a second validation set from the teacher's translations of the validation sources."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.binarise import binarise_file
from ..data.dictionary import read_dictionary
from ..errors import UserError
from ..lines import read_lines
from .corpus import open_corpus
from .nbest import read_nbest
from .pieces import to_text
from .resumable import read_manifest
from .select import BY_RISK, SelectionOptions, Selector
from .training_set import BINARISED, Student

#: fairseq's name for a second validation set: `--valid-subset valid1,valid`.
SPLIT = "valid1"
VALID_FLAG = "--valid-translations"


@dataclass(frozen=True)
class ValidTranslations:
    """An n-best list of the validation sources. Its best translations become the set `valid1`.

    Raises:
        UserError: if the file does not exist.
    """

    path: Path  #: an n-best list of `lskd translate`
    student: Student
    remove_bpe: str = "sentencepiece"

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise UserError(f"{VALID_FLAG} {self.path}: no such file. Expected a list of `lskd translate`")

    def check(self) -> None:
        """Check that each record is a translation of the same line of the student's validation set.

        Raises:
            UserError: if the list or the validation set cannot be read, or they have different sentences.
        """
        where, lines = self._sources()
        records = list(read_nbest(self.path))
        if len(records) != len(lines):
            raise UserError(
                f"{VALID_FLAG} {self.path} has {len(records):,} sentences, but the validation set {where} has "
                f"{len(lines):,}. Expected translations of its source"
            )
        for number, (record, line) in enumerate(zip(records, lines, strict=True), 1):
            # A binarised set has <unk> for words that its dictionary lacks.
            if "<unk>" not in line and self._words(record["source"]) != self._words(line):
                raise UserError(
                    f"{VALID_FLAG} {self.path}, line {number}: the source differs from line {number} of the validation "
                    f"set {where}. Expected translations of its source, in the same order"
                )

    def write(self, folder: Path, options: SelectionOptions, workers: int = 1) -> dict[str, Any]:
        """Write `valid1.LANG` as text in the student's pieces, and binarised in the folder's `data-bin`.

        Minimum Bayes risk chooses if it chooses the training data, by a metric of sacreBLEU; otherwise the score does.
        There are no filters.

        Returns:
            Facts for the manifest: how many sentences were written, how many have no translation and are left out, and
            what `lskd translate` recorded about the list.

        Raises:
            UserError: if no sentence has a translation.
        """
        selector = Selector(_unfiltered(options))
        outcomes = [selector(record) for record in read_nbest(self.path)]
        pairs = [pair for outcome in outcomes for pair in outcome.pairs]
        if not pairs:
            raise UserError(f"{VALID_FLAG} {self.path}: no sentence has a translation")
        student = self.student
        languages = (student.source_lang, student.target_lang)
        dictionaries = (student.srcdict, student.tgtdict)
        for side, (language, dictionary) in enumerate(zip(languages, dictionaries, strict=True)):
            text = folder / f"{SPLIT}.{language}"
            text.write_text("".join(f"{pair[side]}\n" for pair in pairs), encoding="utf-8", newline="\n")
            prefix = folder / BINARISED / f"{SPLIT}.{'-'.join(languages)}.{language}"
            binarise_file(text, read_dictionary(dictionary), prefix, workers)
        return {
            "sentences": len(pairs),
            "without a translation": len(outcomes) - len(pairs),
            "references": "valid, unchanged",
            "translations": read_manifest(self.path),
        }

    def _sources(self) -> tuple[Path, list[str]]:
        """Return the path of the student's validation set, and its source lines."""
        student = self.student
        if student.validpref:
            path = Path(f"{student.validpref}.{student.source_lang}")
            return path, list(read_lines(path))
        if student.data is None:
            raise UserError(f"{VALID_FLAG} needs a validation set with references: give --student-data or --validpref")
        corpus = open_corpus(student.data, "valid", student.source_lang)
        return student.data, list(corpus.read(0, corpus.sentences))

    def _words(self, line: str) -> str:
        """Return the text without white space, whose positions may differ between two vocabularies."""
        return "".join(to_text(line, self.remove_bpe).split())


def _unfiltered(options: SelectionOptions) -> SelectionOptions:
    return replace(
        options,
        strategy="mbr" if options.strategy in BY_RISK and not options.outside else "1-best",
        outside=False,
        max_hypotheses=None,
        add_references=0.0,
        replace_by_references=0.0,
        on_empty="drop",
        filters=(),
        dedup=False,
        least_score=-math.inf,
        worst_score=-math.inf,
    )
