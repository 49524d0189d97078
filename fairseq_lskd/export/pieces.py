"""Find the SentencePiece models of a student, and check that they belong to it."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from fairseq import utils

from ..data.moses import CODES
from ..data.sentencepiece_model import load_model
from ..data.vocabulary import MANIFEST, MODEL, model_name
from ..errors import UserError
from ..files import sha256
from ..runs import RECORD, read_record
from ..teachers.alone import Teacher
from ..teachers.checkpoint import read_checkpoint

#: Maximum share of a dictionary's tokens that are not pieces of the model, such as characters that it lacks.
MAX_STRANGE = 0.02
#: Share of a model's pieces missing from the dictionary that is normal: some do not occur in the training data.
MAX_UNSEEN = 0.1
#: Tokens that are added to sentences after encoding, such as language tokens: `__de__`, `[de_DE]`, `deu_Latn`.
MARK = re.compile(r"<\S+>|__\S+__|\[\S+\]|[a-z]{3}_[A-Z][a-z]{3}")


class NoPieces(UserError):
    """The SentencePiece model of a student was not found, or there is none."""


class Pieces(NamedTuple):
    """The SentencePiece models of both sides, often the same."""

    source: Path
    target: Path

    def by_name(self) -> dict[str, Path]:
        """Return the models by their names in an exported folder: a single name if they are the same."""
        if sha256(self.source) == sha256(self.target):
            return {"sentencepiece.model": self.source}
        return {f"sentencepiece.{side}.model": path for side, path in self._asdict().items()}


def find_pieces(student: Teacher, both: Path | None, source: Path | None, target: Path | None) -> Pieces:
    """Return the given models. If none are given, find those of `lskd encode` beside the checkpoint and its data.

    Raises:
        NoPieces: if no model is found.
        UserError: if a model cannot be read, or is not that of the student.
    """
    source, target = source or both, target or both
    if source is None or target is None:
        found = _find(student)
        source, target = source or found.source, target or found.target
    pieces = Pieces(source, target)
    known = [set(_symbols(path)) for path in pieces]
    dictionaries = [student.task.source_dictionary, student.task.target_dictionary]
    for path, symbols, dictionary, file in zip(pieces, known, dictionaries, student.dictionaries, strict=True):
        _check(path, symbols, dictionary, file)
    for path in dict.fromkeys(pieces):
        sides = [i for i in range(2) if pieces[i] == path]
        _warn(path, known[sides[0]], {symbol for i in sides for symbol in dictionaries[i].symbols})
    return pieces


def _find(student: Teacher) -> Pieces:
    (checkpoint,) = student.paths
    recorded = [Path(path) for path in utils.split_paths(read_checkpoint(checkpoint)["cfg"]["task"].data or "")[:1]]
    inputs: Iterable[str] = ()
    if (checkpoint.parent / RECORD).is_file():
        with contextlib.suppress(UserError):  # another program's file of this name
            inputs = read_record(checkpoint.parent)["inputs"]
    # The record of the training names its inputs. The scripts put DATA/pieces beside DATA/bin.
    folders = [checkpoint.parent, *(Path(path).parent for path in inputs if Path(path).name == MANIFEST)]
    for data in (student.dictionaries[0].parent, *recorded):
        folders += [data, data.parent / "pieces"]
    folders = list(dict.fromkeys(folders))
    languages = [path.name.split(".")[1] for path in student.dictionaries]  # dict.LANG.txt
    for folder in folders:
        for names in ([MODEL, MODEL], [model_name(language) for language in languages]):
            if all((folder / name).is_file() for name in names):
                return Pieces(*(folder / name for name in names))
    if classical := next((folder / CODES for folder in folders if (folder / CODES).is_file()), None):
        raise NoPieces(
            f"{checkpoint} was trained on Moses tokens with BPE ({classical}). Only SentencePiece can be exported: "
            "train a student on data of `lskd encode` without --recipe moses-bpe"
        )
    raise NoPieces(
        f"found no SentencePiece model of {checkpoint}. Looked for "
        f"{', '.join(str(folder / MODEL) for folder in folders)}. Name the model with --sentencepiece, or those of "
        "both sides with --sentencepiece-source and --sentencepiece-target"
    )


def _symbols(path: Path) -> list[str]:
    """Return the pieces of a model that can occur in text."""
    model = load_model(path, "--sentencepiece")
    ids = (i for i in range(len(model)) if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i)))
    return [model.id_to_piece(i) for i in ids]


def _check(path: Path, known: set[str], dictionary: Any, file: Path) -> None:
    """Raise a `UserError` if too many tokens of the dictionary are not pieces of the model."""
    counts = dict(zip(dictionary.symbols[dictionary.nspecial :], dictionary.count[dictionary.nspecial :], strict=True))
    if not any(counts.values()):
        counts = dict.fromkeys(counts, 1)
    strange = [symbol for symbol in counts if symbol not in known and not MARK.fullmatch(symbol)]
    share = sum(counts[symbol] for symbol in strange) / max(sum(counts.values()), 1)
    if share > MAX_STRANGE:
        shown = ", ".join(sorted(strange, key=counts.__getitem__, reverse=True)[:5])
        raise UserError(
            f"{path} is not the student's SentencePiece model: {share:.0%} of the tokens in {file} are not its pieces "
            f"({shown}), expected at most {MAX_STRANGE:.0%}. Name the model of the student's training data with "
            "--sentencepiece, or with --sentencepiece-source and --sentencepiece-target"
        )


def _warn(path: Path, known: set[str], seen: set[str]) -> None:
    if unseen := len(known - seen):
        share = unseen / len(known)
        if share > MAX_UNSEEN:
            print(
                f"warning: the student's dictionary lacks {unseen:,} of {len(known):,} pieces of {path}. The student "
                "reads them as <unk>. Check that its training data was encoded with this model",
                file=sys.stderr,
            )
