"""A selection as training data: lines in pieces, weights, a report, and fairseq's binarised form."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from ..files import write_json
from .report import Report
from .select import Outcome
from .weights import SequenceWeights

WEIGHTS, REPORT, BINARISED = "train.weights.npz", "report", "data-bin"

#: How fairseq-preprocess sums up a file.
_SUMMARY = re.compile(r"\[(\S+)\] (\S+): (\d+) sents, (\d+) tokens, ([\d.]+)% replaced")


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
        """With the dictionaries and the valid and test sets of a folder that fairseq-preprocess made."""
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
            UserError: if one is not there.
        """
        wanted = {"--srcdict": self.srcdict, "--tgtdict": self.tgtdict}
        if self.validpref:
            for language in (self.source_lang, self.target_lang):
                wanted[f"--validpref .{language}"] = Path(f"{self.validpref}.{language}")
        wanted |= {path.name: path for path in self.copied()}
        if missing := [str(path) for path in wanted.values() if not path.is_file()]:
            raise UserError(
                f"{', '.join(missing)}: no such file. --student-data is a folder that fairseq-preprocess -s "
                f"{self.source_lang} -t {self.target_lang} made, with a validation set; the alternative is --srcdict, "
                "--tgtdict and --validpref"
            )
        return wanted


def write_pairs(folder: Path, source_lang: str, target_lang: str, outcomes: Iterable[Outcome], report: Report) -> None:
    """Write `train.LANG` of both languages, `train.weights.npz` and the report.

    Line i of either file has row i of the weights.

    Raises:
        UserError: if no line is left.
    """
    weight, reference = array("f"), bytearray()
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
                reference.append(pair.reference)
    if not weight:
        raise UserError(f"no sentence is left to train on:\n\n{report.tables()}")
    SequenceWeights(np.array(weight, np.float32), np.array(reference, bool)).save(folder / WEIGHTS)
    write_json(folder / f"{REPORT}.json", report.to_json())
    (folder / f"{REPORT}.md").write_text(
        f"# What was selected\n\n{report.tables()}{report.examples()}", encoding="utf-8", newline="\n"
    )


def binarise(folder: Path, student: Student, workers: int = 1) -> dict[str, float]:
    """Have fairseq-preprocess write `data-bin` of the folder's pairs; example i is line i.

    Returns:
        The percentage of each language's training tokens that the student's dictionary does not have.

    Raises:
        UserError: with what fairseq-preprocess said if it fails.
    """
    out = folder / BINARISED
    command = [sys.executable, "-m", "fairseq_cli.preprocess", "--workers", str(workers), "--destdir", str(out)]
    command += ["-s", student.source_lang, "-t", student.target_lang, "--trainpref", str(folder / "train")]
    command += ["--srcdict", str(student.srcdict), "--tgtdict", str(student.tgtdict)]
    if student.validpref:
        command += ["--validpref", student.validpref]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    if done.returncode:
        tail = "\n  ".join(done.stdout.splitlines()[-8:])
        raise UserError(f"fairseq-preprocess ended with status {done.returncode}:\n  {tail}")
    (out / "preprocess.log").unlink(missing_ok=True)  # it speaks of the folder's name before it was finished
    for path in student.copied():
        shutil.copyfile(path, out / path.name)
    found = _SUMMARY.findall(done.stdout)
    return {language: float(share) for language, path, _, _, share in found if Path(path).stem == "train"}
