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
from .corpus import binarised_below
from .manifest import BINARISED, WEIGHTS
from .report import Report
from .segmentation import check_pieces
from .select import Outcome
from .weights import SequenceWeights

REPORT = "report"


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
            mine = f"{self.source_lang}-{self.target_lang}"
            found = {path.name.split(".")[1] for path in self.data.glob("valid.*-*.idx")} if self.data else set()
            if found and mine not in found:
                raise UserError(
                    f"--student-data {self.data} is for {', '.join(sorted(found))}, found -s {self.source_lang} "
                    f"-t {self.target_lang}: give its languages, or another folder"
                )
            if self.data and (below := binarised_below(self.data)):
                raise UserError(f"--student-data {self.data} has no binarised data, but {below} has. Name {below}")
            raise UserError(
                f"{', '.join(missing)}: no such file. --student-data must be a folder that lskd binarise or "
                f"fairseq-preprocess wrote for {self.source_lang} and {self.target_lang}, with a validation set. "
                "Otherwise give --srcdict, --tgtdict and --validpref"
            )
        for dictionary in (self.srcdict, self.tgtdict):
            read_dictionary(dictionary)
        return wanted


def check_vocabulary(
    pairs: Iterable[tuple[str, list[str]]], student: Student, where: str, source: str | None = None
) -> None:
    """Check that sentences are in the pieces of the student's dictionaries.

    Args:
        pairs: source and translations of some sentences, in pieces.
        where: their file, for the message.
        source: what has their sources, if it is another.

    Raises:
        UserError: as in `check_pieces`.
    """
    read = list(pairs)
    sides = (
        (source or where, student.source_lang, student.srcdict, "source", [line for line, _ in read]),
        (where, student.target_lang, student.tgtdict, "target", [line for _, lines in read for line in lines]),
    )
    for place, language, dictionary, side, lines in sides:
        check_pieces(
            (line.split() for line in lines),
            read_dictionary(dictionary).keys(),
            f"{place}, the {language} side",
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


@dataclass(frozen=True)
class Shares:
    """The part of the training that each set of pairs gets: the selection, then each folder of `Selected`."""

    values: tuple[float, ...]
    by: str = "sentences"  #: or "tokens": what a weight counts for

    def check(self, sets: int) -> None:
        """Raise a `UserError` unless there is a share above 0 for each set, and they sum to 1."""
        given = " ".join(f"{value:g}" for value in self.values)
        if len(self.values) != sets:
            raise UserError(
                f"--shares {given}: expected {sets} numbers, one for NBEST and one for each folder of --add, found "
                f"{len(self.values)}"
            )
        if not (all(value > 0 for value in self.values) and abs(sum(self.values) - 1) < 1e-6):
            raise UserError(f"--shares {given}: expected numbers above 0 that sum to 1, found {sum(self.values):g}")

    def apply(self, weight: np.ndarray, tokens: np.ndarray, ends: Sequence[int]) -> np.ndarray:
        """Scale the weights of each set to its share. Their sum, or that of weighted tokens, stays as it was.

        Args:
            weight: `[pairs]`.
            tokens: `[pairs]`, the number of target tokens with the end-of-sentence token.
            ends: the number of pairs up to the end of each set.
        """
        counted = weight * tokens if self.by == "tokens" else weight
        scaled = weight.copy()
        for share, first, last in zip(self.values, [0, *ends], ends, strict=False):
            own = counted[first:last].sum()
            if not own:
                raise UserError(f"--shares {share:g}: a set of pairs has no weight, so it cannot get a share")
            scaled[first:last] *= share * counted.sum() / own
        return scaled


def write_pairs(
    folder: Path,
    source_lang: str,
    target_lang: str,
    outcomes: Iterable[Outcome],
    report: Report,
    added: Sequence[Selected] = (),
    tag: str | None = None,
    shares: Shares | None = None,
) -> dict[str, int]:
    """Write `train.LANG` of both languages, `train.weights.npz` and the report.

    Line i of both files belongs to row i of the weights. The pairs of `added` follow, with their own weights.

    Args:
        tag: a piece to write before each source sentence of the selection.
        shares: of the selection and each folder of `added`; None leaves all weights as they are.

    Returns:
        The number of pairs from each folder of `added`.

    Raises:
        UserError: if no pair is left.
    """
    weight, reference, tokens = array("f"), array("f"), array("f")
    mark = f"{tag} " if tag else ""
    with (
        (folder / f"train.{source_lang}").open("w", encoding="utf-8", newline="\n") as source,
        (folder / f"train.{target_lang}").open("w", encoding="utf-8", newline="\n") as target,
    ):
        for outcome in outcomes:
            report.add(outcome)
            for pair in outcome.pairs:
                source.write(f"{mark}{pair.source}\n")
                target.write(f"{pair.target}\n")
                weight.append(pair.weight)
                tokens.append(len(pair.target.split()) + 1)
                reference.append(pair.reference if outcome.alone is None else outcome.alone)
        counts, ends = {}, [len(weight)]
        for other in added if weight else ():
            for line, translation in other.pairs():
                source.write(f"{line}\n")
                target.write(f"{translation}\n")
                tokens.append(len(translation.split()) + 1)
            weights = SequenceWeights.load(other.folder / WEIGHTS)
            weight.frombytes(weights.weight.tobytes())
            reference.frombytes(weights.reference.tobytes())
            counts[str(other.folder)] = len(weights.weight)
            ends.append(len(weight))
    if not weight:
        raise UserError(f"no sentence is left to train on. Loosen filters, or check the list:\n\n{report.tables()}")
    final = np.array(weight, np.float32)
    if shares:
        final = shares.apply(final, np.array(tokens), ends)
    SequenceWeights(final, np.array(reference, np.float32)).save(folder / WEIGHTS)
    write_json(folder / f"{REPORT}.json", report.to_json())
    (folder / f"{REPORT}.md").write_text(
        f"# Selection report\n\n{report.tables()}{report.examples()}"
        + "".join(f"\nAdded {pairs:,} pairs of {name}, with their own weights.\n" for name, pairs in counts.items())
        + (f"\nShares by {shares.by}: {', '.join(f'{value:g}' for value in shares.values)}.\n" if shares else ""),
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
