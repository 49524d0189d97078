"""The SentencePiece models of a student: where they are, and whether they are its own."""

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

#: Share of a dictionary's tokens that need not be pieces: characters that the model does not know are among them.
MAX_STRANGE = 0.02
#: Share of a model's pieces that need not be in a dictionary: some are not in the training data.
MAX_UNSEEN = 0.1
#: What was put around sentences after they were encoded.
MARK = re.compile(r"<\S+>|__\S+__")


class NoPieces(UserError):
    """A student's SentencePiece model cannot be found, or it has none."""


class Pieces(NamedTuple):
    """A model of each side; often it is one."""

    source: Path
    target: Path

    def by_name(self) -> dict[str, Path]:
        """The names that they have in an exported folder: one if they are the same."""
        if sha256(self.source) == sha256(self.target):
            return {"sentencepiece.model": self.source}
        return {f"sentencepiece.{side}.model": path for side, path in self._asdict().items()}


def find_pieces(student: Teacher, both: Path | None, source: Path | None, target: Path | None) -> Pieces:
    """The models that are named, or else those that `lskd encode` wrote.

    Raises:
        UserError: if one cannot be found or read, or is not what the student was trained with.
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
        with contextlib.suppress(UserError):  # a file of somebody else's
            inputs = read_record(checkpoint.parent)["inputs"]
    # What the training's record names is certain; the scripts put DATA/pieces beside DATA/bin.
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
            f"{checkpoint} was trained on Moses' tokens and BPE ({classical}), which an export cannot do: it has "
            "SentencePiece models. Export a student of data from `lskd encode` without --recipe moses-bpe"
        )
    raise NoPieces(
        f"found no SentencePiece model of {checkpoint}: there is no "
        f"{', no '.join(str(folder / MODEL) for folder in folders)}. Name it with "
        "--sentencepiece, or those of the two sides with --sentencepiece-source and --sentencepiece-target"
    )


def _symbols(path: Path) -> list[str]:
    """The pieces of a model that text can have."""
    model = load_model(path, "--sentencepiece")
    ids = (i for i in range(len(model)) if not (model.is_control(i) or model.is_unknown(i) or model.is_byte(i)))
    return [model.id_to_piece(i) for i in ids]


def _check(path: Path, known: set[str], dictionary: Any, file: Path) -> None:
    """Raise a `UserError` if the dictionary was not made of text in these pieces."""
    counts = dict(zip(dictionary.symbols[dictionary.nspecial :], dictionary.count[dictionary.nspecial :], strict=True))
    if not any(counts.values()):
        counts = dict.fromkeys(counts, 1)
    strange = [symbol for symbol in counts if symbol not in known and not MARK.fullmatch(symbol)]
    share = sum(counts[symbol] for symbol in strange) / max(sum(counts.values()), 1)
    if share > MAX_STRANGE:
        shown = ", ".join(sorted(strange, key=counts.__getitem__, reverse=True)[:5])
        raise UserError(
            f"{path} is another SentencePiece model than the student's: {share:.0%} of the tokens in {file} are no "
            f"pieces of it ({shown}), expected at most {MAX_STRANGE:.0%}. Name the one that its training data was "
            "encoded with: --sentencepiece, or --sentencepiece-source and --sentencepiece-target"
        )


def _warn(path: Path, known: set[str], seen: set[str]) -> None:
    if unseen := len(known - seen):
        share = unseen / len(known)
        if share > MAX_UNSEEN:
            print(
                f"warning: {unseen:,} of {len(known):,} pieces of {path} are not in the student's dictionary: it reads "
                "them as <unk>. Was its training data encoded with another model?",
                file=sys.stderr,
            )
