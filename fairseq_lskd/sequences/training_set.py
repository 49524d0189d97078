"""A selection as training data: lines in pieces, weights, a report, and fairseq's binarised form."""

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
    """What the student's data is binarised with."""

    source_lang: str
    target_lang: str
    srcdict: Path
    tgtdict: Path
    validpref: str | None = None  #: of a validation set in the student's pieces
    data: Path | None = None  #: binarised data with the same dictionaries, whose valid and test sets are copied

    @classmethod
    def of(cls, data: Path, source_lang: str, target_lang: str) -> Student:
        """With the dictionaries and the valid and test sets of a folder of binarised data."""
        srcdict, tgtdict = (data / f"dict.{language}.txt" for language in (source_lang, target_lang))
        return cls(source_lang, target_lang, srcdict, tgtdict, data=data)

    def copied(self) -> list[Path]:
        """The files of `data` that become the student's as they are."""
        if self.data is None:
            return []
        pair = f"{self.source_lang}-{self.target_lang}"
        ends = [f"{language}.{kind}" for language in (self.source_lang, self.target_lang) for kind in ("bin", "idx")]
        return [*(self.data / f"valid.{pair}.{end}" for end in ends), *sorted(self.data.glob(f"test.{pair}.*"))]

    def inputs(self) -> dict[str, Path]:
        """The files that are read, by a name for each.

        Raises:
            UserError: if one is not there, or a dictionary is none of fairseq's.
        """
        wanted = {"--srcdict": self.srcdict, "--tgtdict": self.tgtdict}
        if self.validpref:
            for language in (self.source_lang, self.target_lang):
                wanted[f"--validpref .{language}"] = Path(f"{self.validpref}.{language}")
        wanted |= {path.name: path for path in self.copied()}
        if missing := [str(path) for path in wanted.values() if not path.is_file()]:
            raise UserError(
                f"{', '.join(missing)}: no such file. --student-data is a folder that lskd binarise or "
                f"fairseq-preprocess made of {self.source_lang} and {self.target_lang}, with a validation set; "
                "the alternative is --srcdict, --tgtdict and --validpref"
            )
        for dictionary in (self.srcdict, self.tgtdict):
            read_dictionary(dictionary)
        return wanted


def check_vocabulary(pairs: Iterable[tuple[str, list[str]]], student: Student, where: str) -> None:
    """Refuse sentences that are in other pieces than the student's dictionaries.

    Args:
        pairs: the source and the translations of some sentences, as the student reads them; where: their file.

    Raises:
        UserError: as `check_pieces` does.
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
            f"Text, and pieces of another vocabulary, become the student's by --sentencepiece-{side}, the model that "
            "its data were encoded with (pieces/spm.model of lskd encode)",
        )


@dataclass(frozen=True)
class Selected:
    """What `lskd select` made before, whose pairs are to be added."""

    folder: Path
    languages: tuple[str, str]

    def files(self) -> dict[str, Path]:
        """Its pairs and weights, by their names."""
        names = [*(f"train.{language}" for language in self.languages), WEIGHTS]
        return {f"--add {name} of {self.folder}": self.folder / name for name in names}

    def check(self) -> None:
        """Refuse a folder that is none, or whose files do not fit each other.

        Raises:
            UserError: naming the folder, and the file.
        """
        if missing := [str(path) for path in self.files().values() if not path.is_file()]:
            raise UserError(
                f"--add {self.folder}: {', '.join(missing)}: no such file; expected what `lskd select` made"
            )
        weights = len(SequenceWeights.load(self.folder / WEIGHTS).weight)
        for language in self.languages:
            side = examine(self.folder / f"train.{language}")
            if side.problems or side.lines != weights:
                why = side.problems or [f"{side.lines:,} lines, and {weights:,} weights"]
                raise UserError(f"--add {self.folder}: train.{language}: {'; '.join(why)}; make it again")

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

    Line i of either file has row i of the weights. The pairs of `added` follow, with their own weights.

    Returns:
        How many pairs each of `added` gave, by its folder.

    Raises:
        UserError: if no line is left.
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
        raise UserError(f"no sentence is left to train on:\n\n{report.tables()}")
    SequenceWeights(np.array(weight, np.float32), np.array(reference, np.float32)).save(folder / WEIGHTS)
    write_json(folder / f"{REPORT}.json", report.to_json())
    (folder / f"{REPORT}.md").write_text(
        f"# What was selected\n\n{report.tables()}{report.examples()}"
        + "".join(
            f"\n{pairs:,} pairs more of {name}, as they were selected there.\n" for name, pairs in counts.items()
        ),
        encoding="utf-8",
        newline="\n",
    )
    return counts


def binarise(folder: Path, student: Student, workers: int = 1) -> dict[str, float]:
    """Write `data-bin` of the folder's pairs, as fairseq-preprocess would; example i is line i.

    Returns:
        The percentage of each language's training tokens that the student's dictionary does not have.
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
