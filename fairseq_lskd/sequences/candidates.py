"""What is selected from: a teacher's n-best translations in any of the formats, and the references beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..data.bitext import Side, check_unchanged, examine
from ..data.shifting import Steps
from ..errors import UserError
from ..lines import read_lines
from . import foreign
from .joining import read_joined
from .nbest import read_nbest
from .outside_scores import is_json, read_scores
from .pieces import to_text
from .resumable import check_lines, read_manifest

Item = TypeVar("Item")

#: How a teacher's translations may come.
FORMATS = ("json", "text", "moses", "fairseq")


@dataclass
class Candidates:
    """Files that belong together, all of them read once to see that they do.

    Raises:
        UserError: if one cannot be read, or their numbers of lines do not fit.
    """

    path: Path
    format: str = "json"
    source: Path | None = None  #: of every format; where it is json, to see that it is of these sentences and pieces
    nbest: int = 1  #: of text: lines a sentence
    scores: Path | None = None  #: in place of the list's own; of the last is the sign changed if `negate`
    references: Path | None = None
    remove_bpe: str = "sentencepiece"
    negate: bool = False  #: where the lowest score is the best
    more: tuple[Path, ...] = ()  #: further lists of the same sentences; json only
    sentences: int = field(init=False)
    digests: dict[str, str] = field(init=False)  #: SHA-256 by flag

    def __post_init__(self) -> None:
        files = {
            "NBEST": self.path,
            "--source": self.source,
            "--scores": self.scores,
            "--references": self.references,
            **{f"NBEST {number}": path for number, path in enumerate(self.more, 2)},
        }
        sides = {flag: examine(path) for flag, path in files.items() if path}
        if problems := [problem for side in sides.values() for problem in side.problems]:
            raise UserError("; ".join(problems))
        self._sides: list[Side] = list(sides.values())
        # The source of JSON lines is in them: that it is the same is checked, not recorded.
        recorded = {flag: side for flag, side in sides.items() if flag != "--source" or self.format != "json"}
        self.digests = {flag: side.sha256 for flag, side in recorded.items()}
        self._manifest = read_manifest(self.path)
        if self._manifest:
            check_lines(self.path, sides["NBEST"].lines, self._manifest)
        counted = sides.get("--source", sides["NBEST"])
        self.sentences = counted.lines
        lines = {"--references": self.sentences} | ({"NBEST": self.sentences} if self.format == "json" else {})
        lines |= {name: self.sentences for name in sides if name.startswith("NBEST ")}
        self._arrays = self.scores is not None and is_json(self.scores)
        if self.format == "text":
            lines |= dict.fromkeys(("NBEST", "--scores"), self.sentences * self.nbest)
        if self._arrays:
            lines["--scores"] = self.sentences
        wrong = [
            f"{flag} {side.path} has {side.lines:,} lines, expected {lines[flag]:,}"
            for flag, side in sides.items()
            if lines.get(flag, side.lines) != side.lines
        ]
        if wrong:
            raise UserError(f"{counted.path} has {self.sentences:,} source sentences: {'; '.join(wrong)}")

    def read(self) -> Iterator[dict[str, Any]]:
        """A record for every source sentence, as `nbest` has them.

        Raises:
            UserError: for a line that cannot be understood, for a shard of a corpus, and if a file changed since it
                was counted.
        """
        expected = read_lines(self.source) if self.source and self.format == "json" else None
        for index, record in enumerate(self._all(self._records())):
            if record["id"] != index:
                raise UserError(
                    f"{self.path} begins with sentence {record['id']}: it is one shard; `lskd translate --merge` puts "
                    "them together"
                )
            if expected is not None:
                self._check_source(record, next(expected, ""))
            yield record

    def _check_source(self, record: dict[str, Any], line: str) -> None:
        """Refuse a sentence of another text or in other pieces; those that a dictionary lacks are `<unk>`."""
        mine, theirs = line.split(), record["source"].split()
        if mine == theirs or (
            len(mine) == len(theirs) and all(b in (a, "<unk>") for a, b in zip(mine, theirs, strict=True))
        ):
            return
        place = f"{self.path}, sentence {record['id']}, is not line {record['id'] + 1} of --source {self.source}"
        if to_text(record["source"], self.remove_bpe) == to_text(line, self.remove_bpe):
            raise UserError(
                f"{place} but the same text in other pieces: the teacher has another vocabulary. Let it translate the "
                "raw text with its own model (lskd translate --sentencepiece), and give lskd select the student's by "
                "--sentencepiece-source and --sentencepiece-target"
            )
        raise UserError(f"{place}: these are translations of another text")

    def read_references(self) -> Iterator[str | None]:
        """A line for every source sentence; None for all if there are no references."""
        return self._all(read_lines(self.references)) if self.references else itertools.repeat(None, self.sentences)

    def out_of_step(self) -> list[str]:
        """In words, where translations or references belong to other lines of the source; reads all of them.

        Translations of JSON lines have their source beside them, so of these only references are looked at.

        Raises:
            UserError: as `read` does.
        """
        source = f"--source {self.source}" if self.source else f"the source in {self.path}"
        sides: dict[str, Steps] = {str(self.path): Steps()} if self.format != "json" else {}
        if self.references:
            sides[f"--references {self.references}"] = Steps()
        if not sides:
            return []
        for record, reference in zip(self.read(), self.read_references(), strict=True):
            line = to_text(record["source"], self.remove_bpe)
            targets = [next((each["text"] for each in record["hypotheses"]), None)] if self.format != "json" else []
            if self.references:
                targets.append(to_text(reference or "", self.remove_bpe))
            for steps, target in zip(sides.values(), targets, strict=True):
                steps.add(line, target)
        found = ((name, steps.shift()) for name, steps in sides.items())
        return [shift.words(source, name) for name, shift in found if shift]

    def check_unchanged(self) -> None:
        """Raise a `UserError` if a file has another text now than when it was counted."""
        check_unchanged(self._sides)

    def made_by(self) -> dict[str, Any] | None:
        """What `lskd translate` recorded of its run: teacher, options, corpus; None of translations made elsewhere."""
        return self._manifest

    def more_made_by(self) -> list[dict[str, Any] | None]:
        """Return the same of each further list."""
        return [read_manifest(path) for path in self.more]

    def _all(self, found: Iterator[Item]) -> Iterator[Item]:
        """One for each sentence; where there are more or fewer than were counted, a file changed."""
        count = 0
        for count, item in enumerate(found, 1):
            if count > self.sentences:
                break
            yield item
        if count != self.sentences:
            self.check_unchanged()
            raise UserError(f"{self.path}: {count:,} of its {self.sentences:,} sentences were read")

    def _records(self) -> Iterator[dict[str, Any]]:
        if self.source is None or self.format == "json":
            records = read_joined([self.path, *self.more]) if self.more else read_nbest(self.path)
            return self._rescored(records) if self.scores else records
        if self.format == "text":
            translations = foreign.read_text(self.path, self.nbest)
        elif self.format == "moses":
            translations = foreign.read_moses(self.path, self.sentences)
        else:
            translations = foreign.read_fairseq(self.path, self.sentences)
        if self.scores:
            translations = self._scored(translations)
        return foreign.to_records(self.source, translations, self.remove_bpe)

    def _scored(self, translations: Iterator[list[foreign.Scored]]) -> Iterator[list[foreign.Scored]]:
        """Translations made elsewhere, with the scores of `scores`: those of empty ones are counted, too."""
        assert self.scores is not None
        blocks, counted = itertools.tee(translations)
        found = read_scores(self.scores, map(len, counted), self.negate)
        for block, scores in zip(blocks, found, strict=True):
            yield [(text, score) for (text, _), score in zip(block, scores, strict=True)]

    def _rescored(self, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Records with the scores of `scores`."""
        assert self.scores is not None
        mine, counted = itertools.tee(records)
        found = read_scores(self.scores, (len(record["hypotheses"]) for record in counted), self.negate)
        for record, scores in zip(mine, found, strict=True):
            hypotheses = [h | {"score": score} for h, score in zip(record["hypotheses"], scores, strict=True)]
            yield record | {"hypotheses": hypotheses}
