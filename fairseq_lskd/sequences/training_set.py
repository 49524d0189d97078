"""Write a selection as training data: pairs in pieces, weights, a report, and fairseq's binarised form."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.binarise import binarise_file
from ..data.bitext import examine
from ..data.dictionary import read_dictionary
from ..errors import UserError
from ..files import write_json
from ..lines import read_lines
from .report import Report
from .segmentation import check_pieces
from .select import Outcome
from .weights import SequenceWeights

WEIGHTS, REPORT, BINARISED = "train.weights.npz", "report", "data-bin"


@dataclass(frozen=True)
class Student:
    """Dictionaries and validation data that the student's data is binarised with."""

    source_lang: str
    target_lang: str
    srcdict: Path
    tgtdict: Path
    validpref: str | None = None  #: prefix of the files of a validation set in the student's pieces
    data: Path | None = None  #: binarised data with these dictionaries; its valid and test sets are copied

    @classmethod
    def of(cls, data: Path, source_lang: str, target_lang: str) -> Student:
        """Take the dictionaries, and the valid and test sets, from a folder of binarised data."""
        srcdict, tgtdict = (data / f"dict.{language}.txt" for language in (source_lang, target_lang))
        return cls(source_lang, target_lang, srcdict, tgtdict, data=data)

    def copied(self) -> list[Path]:
        """Return the files of `data` that are copied unchanged."""
        if self.data is None:
            return []
        pair = f"{self.source_lang}-{self.target_lang}"
        ends = [f"{language}.{kind}" for language in (self.source_lang, self.target_lang) for kind in ("bin", "idx")]
        return [*(self.data / f"valid.{pair}.{end}" for end in ends), *sorted(self.data.glob(f"test.{pair}.*"))]

    def inputs(self) -> dict[str, Path]:
        """Return the input files by flag or name.

        Raises:
            UserError: if a file is missing, or a dictionary is not in fairseq's format.
        """
        wanted = {"--srcdict": self.srcdict, "--tgtdict": self.tgtdict}
        if self.validpref:
            for language in (self.source_lang, self.target_lang):
                wanted[f"--validpref .{language}"] = Path(f"{self.validpref}.{language}")
        wanted |= {path.name: path for path in self.copied()}
        if missing := [str(path) for path in wanted.values() if not path.is_file()]:
            raise UserError(
                f"{', '.join(missing)}: no such file. --student-data must be a folder that lskd binarise or "
                f"fairseq-preprocess wrote for {self.source_lang} and {self.target_lang}, with a validation set. "
                "Otherwise give --srcdict, --tgtdict and --validpref"
            )
        for dictionary in (self.srcdict, self.tgtdict):
            read_dictionary(dictionary)
        return wanted


def check_vocabulary(pairs: Iterable[tuple[str, list[str]]], student: Student, where: str) -> None:
    """Check that sentences are in the pieces of the student's dictionaries.

    Args:
        pairs: source and translations of some sentences, in pieces.
        where: their file, for the message.

    Raises:
        UserError: as in `check_pieces`.
    """
    read = list(pairs)
    sides = (
        (student.source_lang, student.srcdict, "source", [source for source, _ in read]),
        (student.target_lang, student.tgtdict, "target", [line for _, lines in read for line in lines]),
    )
    for language, dictionary, side, lines in sides:
        check_pieces(
            (line.split() for line in lines),
            read_dictionary(dictionary).keys(),
            f"{where}, the {language} side",
            f"the student's dictionary {dictionary}",
            f"If this is text, or in pieces of another vocabulary, give --sentencepiece-{side} with the SentencePiece "
            "model of the student's data (pieces/spm.model of lskd encode)",
        )


@dataclass(frozen=True)
class Selected:
    """A folder of an earlier `lskd select` (--add). Its pairs are appended."""

    folder: Path
    languages: tuple[str, str]

    def files(self) -> dict[str, Path]:
        """Return the files with its pairs and weights, by name."""
        names = [*(f"train.{language}" for language in self.languages), WEIGHTS]
        return {f"--add {name} of {self.folder}": self.folder / name for name in names}

    def check(self) -> None:
        """Check that all files are there and have the same number of lines.

        Raises:
            UserError: otherwise; it names the folder and the file.
        """
        if missing := [str(path) for path in self.files().values() if not path.is_file()]:
            raise UserError(
                f"--add {self.folder}: {', '.join(missing)}: no such file. Expected a folder of `lskd select`"
            )
        weights = len(SequenceWeights.load(self.folder / WEIGHTS).weight)
        for language in self.languages:
            side = examine(self.folder / f"train.{language}")
            if side.problems or side.lines != weights:
                why = side.problems or [f"found {side.lines:,} lines and {weights:,} weights, expected as many"]
                raise UserError(f"--add {self.folder}: train.{language}: {'; '.join(why)}. Create the folder again")

    def pairs(self) -> Iterator[tuple[str, str]]:
        return zip(*(read_lines(self.folder / f"train.{language}") for language in self.languages), strict=True)


def write_pairs(
    folder: Path,
    source_lang: str,
    target_lang: str,
    outcomes: Iterable[Outcome],
    report: Report,
    added: Sequence[Selected] = (),
) -> dict[str, int]:
    """Write `train.LANG` of both languages, `train.weights.npz` and the report.

    Line i of both files belongs to row i of the weights. The pairs of `added` follow, with their own weights.

    Returns:
        The number of pairs from each folder of `added`.

    Raises:
        UserError: if no pair is left.
    """
    weight, reference = array("f"), array("f")
    with (
        (folder / f"train.{source_lang}").open("w", encoding="utf-8", newline="\n") as source,
        (folder / f"train.{target_lang}").open("w", encoding="utf-8", newline="\n") as target,
    ):
        for outcome in outcomes:
            report.add(outcome)
            for pair in outcome.pairs:
                source.write(f"{pair.source}\n")
                target.write(f"{pair.target}\n")
                weight.append(pair.weight)
                reference.append(pair.reference if outcome.alone is None else outcome.alone)
        counts = {}
        for other in added if weight else ():
            for line, translation in other.pairs():
                source.write(f"{line}\n")
                target.write(f"{translation}\n")
            weights = SequenceWeights.load(other.folder / WEIGHTS)
            weight.extend(weights.weight.tolist())
            reference.extend(weights.reference.tolist())
            counts[str(other.folder)] = len(weights.weight)
    if not weight:
        raise UserError(f"no sentence is left to train on. Loosen filters, or check the list:\n\n{report.tables()}")
    SequenceWeights(np.array(weight, np.float32), np.array(reference, np.float32)).save(folder / WEIGHTS)
    write_json(folder / f"{REPORT}.json", report.to_json())
    (folder / f"{REPORT}.md").write_text(
        f"# Selection report\n\n{report.tables()}{report.examples()}"
        + "".join(f"\nAdded {pairs:,} pairs of {name}, with their own weights.\n" for name, pairs in counts.items()),
        encoding="utf-8",
        newline="\n",
    )
    return counts


def binarise(folder: Path, student: Student, workers: int = 1) -> dict[str, float]:
    """Binarise the folder's pairs into `data-bin`, as fairseq-preprocess does. Example i is line i.

    Returns:
        By language, the percentage of training tokens that the student's dictionary lacks.
    """
    out = folder / BINARISED
    out.mkdir()
    shares = {}
    for language, dictionary in ((student.source_lang, student.srcdict), (student.target_lang, student.tgtdict)):
        shutil.copyfile(dictionary, out / f"dict.{language}.txt")
        ids = read_dictionary(dictionary)
        prefix = f"{student.source_lang}-{student.target_lang}.{language}"
        train = binarise_file(folder / f"train.{language}", ids, out / f"train.{prefix}", workers)
        shares[language] = 100 * train.unknown / train.tokens
        if student.validpref:
            binarise_file(Path(f"{student.validpref}.{language}"), ids, out / f"valid.{prefix}", workers)
    for path in student.copied():
        shutil.copyfile(path, out / path.name)
    return shares
